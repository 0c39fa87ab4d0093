"""The floor screens before it gives, now that something screens."""

from django.db import migrations


def screen(apps, schema_editor):
    apps.get_model("index", "PolicySetting").objects.filter(profile="").update(screened=True)


class Migration(migrations.Migration):
    dependencies = [("index", "0007_verdict_news")]
    operations = [migrations.RunPython(screen, migrations.RunPython.noop)]
