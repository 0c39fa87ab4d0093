"""What screening learns makes itself known as policy does; see `0003_floor_and_epochs`."""

from importlib import import_module

from django.db import migrations

TRIGGER = import_module("sandboxes.index.migrations.0003_floor_and_epochs").TRIGGER
TABLES = ("screening_advisory", "screening_affected", "screening_verdict")


class Migration(migrations.Migration):
    dependencies = [("index", "0003_floor_and_epochs"), ("screening", "0001_initial")]
    operations = [
        migrations.RunSQL(TRIGGER.format(table=table), f"DROP TRIGGER {table}_epoch ON {table}")
        for table in TABLES
    ]
