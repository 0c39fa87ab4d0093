import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("screening", "0004_exposure")]

    operations = [
        migrations.AddIndex(
            model_name="advisory",
            index=models.Index(fields=["-malicious", "-modified", "-id"], name="advisory_worst_first"),
        ),
        migrations.AddIndex(
            model_name="advisory",
            index=django.contrib.postgres.indexes.GinIndex(fields=["aliases"], name="advisory_aliases"),
        ),
        migrations.AddIndex(
            model_name="verdict",
            index=models.Index(fields=["state", "-at", "-sha256"], name="verdict_by_state"),
        ),
        migrations.AddIndex(
            model_name="verdict",
            index=models.Index(
                condition=models.Q(("decision", ""), _negated=True),
                fields=["-decided_at", "sha256"],
                name="verdict_decided",
            ),
        ),
    ]
