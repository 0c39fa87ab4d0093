"""How many index tokens of a sandbox were revoked; of those that were open once and have none now it was one."""

from django.db import migrations, models


def count_revoked(apps, schema_editor):
    sandboxes = apps.get_model("lifecycle", "Sandbox").objects
    sandboxes.filter(ready_at__isnull=False, index_token_digest="").update(tokens_revoked=1)


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0003_default_quota")]

    operations = [
        migrations.AddField(
            model_name="sandbox",
            name="tokens_revoked",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.RunPython(count_revoked, migrations.RunPython.noop),
    ]
