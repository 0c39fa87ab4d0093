"""The package policy that a sandbox lived under when it was isolated, kept beside what its cluster had.

It is written down within seconds, by whoever finds an isolation without it; the bundle names that moment, and
has every change of the policy from the ledger, those of these seconds included.
"""

import json
from dataclasses import asdict
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from portal.approvals import waiver_queries
from sandboxes.index import policy_settings
from sandboxes.index.models import ListEntry
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Isolation, Sandbox

_AT_ONCE: Final = 200


def keep_policies() -> int:
    """For every isolation that lacks it; how many that were."""
    rows = Isolation.objects.filter(package_policy_at=None).order_by("id")
    return sum(keep(pk) for pk in list(rows.values_list("pk", flat=True)[:_AT_ONCE]))


def keep(isolation_id: int) -> bool:
    """Once: of two who try, one writes it."""
    with transaction.atomic():
        rows = Isolation.objects.select_for_update(of=("self",)).select_related("sandbox")
        row = rows.filter(pk=isolation_id, package_policy_at=None).first()
        if row is None:
            return False
        row.package_policy = json.loads(json.dumps(as_it_is(row.sandbox), cls=DjangoJSONEncoder))
        row.package_policy_at = clock.now()
        row.save(update_fields=["package_policy", "package_policy_at"])
    return True


def as_it_is(sandbox: Sandbox) -> dict[str, Any]:
    """What the index goes by for it at this moment."""
    profiles = dict.fromkeys(("", sandbox.profile))
    return {
        "settings": {name or "everybody": asdict(policy_settings.settings_of(name)) for name in profiles},
        "lists": list(ListEntry.objects.filter(profile__in=profiles).order_by("id").values()),
        "waivers": list(waiver_queries.of_sandbox(sandbox).values()),
    }
