"""The installation's floor as a new one has it, and the triggers that make every change of policy known.

Statement triggers, so no way of writing (services, shell, SQL) is missed. The number is counted on in the same
transaction: who sees it sees the change, and NOTIFY is sent when that commits.
"""

from datetime import timedelta

from django.db import migrations

RAISE = """
CREATE FUNCTION index_raise_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO index_epoch (topic, number, at) VALUES (TG_TABLE_NAME, 1, now())
    ON CONFLICT (topic) DO UPDATE SET number = index_epoch.number + 1, at = now();
    PERFORM pg_notify('petridish_index', TG_TABLE_NAME);
    RETURN NULL;
END $$;
"""
TRIGGER = """
CREATE TRIGGER {table}_epoch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION index_raise_epoch();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_epoch;
"""
TABLES = ("index_policysetting", "index_listentry", "index_waiver")


def add_floor(apps, schema_editor):
    apps.get_model("index", "PolicySetting").objects.get_or_create(
        profile="",
        defaults={
            "cooldown": timedelta(days=7),
            "sdists": False,
            "yanked": True,
            "refuse_from": 4,  # critical
            "screened": False,
            "only_allowed": False,
        },
    )


class Migration(migrations.Migration):
    dependencies = [("index", "0002_policy")]
    operations = [
        migrations.RunSQL(RAISE, "DROP FUNCTION index_raise_epoch()"),
        *(
            migrations.RunSQL(TRIGGER.format(table=table), f"DROP TRIGGER {table}_epoch ON {table}")
            for table in TABLES
        ),
        migrations.RunPython(add_floor, migrations.RunPython.noop),
    ]
