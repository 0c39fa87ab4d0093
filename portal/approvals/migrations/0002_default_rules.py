"""Every installation starts with rules that are safe: what they do not cover is asked."""

from datetime import timedelta
from typing import Any

from django.db import migrations

DEFAULTS: tuple[dict[str, Any], ...] = (
    {
        "name": "Ordinary trial",
        "outcome": "approve",
        "data_classes": ["public"],
        "risks": ["low"],
        "gpu": False,
        "max_duration": timedelta(days=7),
        "max_live": 2,
    },
    {"name": "GPUs are scarce", "outcome": "ask", "gpu": True},
    {"name": "Internal data needs a look", "outcome": "ask", "data_classes": ["internal"]},
)


def add_defaults(apps, schema_editor):
    model = apps.get_model("approvals", "Rule")
    for number, rule in enumerate(DEFAULTS, start=1):
        model.objects.create(position=number * 10, **rule)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial")]
    operations = [migrations.RunPython(add_defaults, migrations.RunPython.noop)]
