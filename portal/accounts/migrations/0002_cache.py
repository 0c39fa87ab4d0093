"""The table of Django's database cache, as `createcachetable` makes it: one command less to remember."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql="""
                CREATE UNLOGGED TABLE cache (
                    cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL
                );
                CREATE INDEX cache_expires ON cache (expires);
            """,
            reverse_sql="DROP TABLE cache",
        )
    ]
