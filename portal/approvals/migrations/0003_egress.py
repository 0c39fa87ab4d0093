from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0002_default_rules")]

    operations = [
        migrations.AddField(model_name="request", name="egress", field=models.JSONField(null=True)),
    ]
