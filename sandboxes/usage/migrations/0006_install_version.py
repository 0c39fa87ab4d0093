from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0005_ecosystem"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="install",
            name="usage_insta_project_98211b_idx",
        ),
        migrations.AddIndex(
            model_name="install",
            index=models.Index(fields=["ecosystem", "project", "version"], name="install_version"),
        ),
    ]
