"""Ten sandboxes for each person, until an admin says otherwise; what is alive already counts."""

from django.db import migrations


def add_default(apps, schema_editor):
    quota = apps.get_model("lifecycle", "Quota")
    quota.objects.get_or_create(scope="person", subject="", defaults={"sandboxes": 10})


def charge_living(apps, schema_editor):
    """Those opened before there were quotas; their CPU and memory were not written down."""
    sandboxes = apps.get_model("lifecycle", "Sandbox").objects
    sandboxes.exclude(phase__in=["ended", "failed", "queued"]).update(charged=True)


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0002_seal_and_engine")]

    operations = [
        migrations.RunPython(add_default, migrations.RunPython.noop),
        migrations.RunPython(charge_living, migrations.RunPython.noop),
    ]
