"""The alarms of a sandbox that is over: most of them end with it, one may not.

That something does not go, does not stay or cannot be proven is no trouble any more. That
its seal was changed, or did not hold, is: who did it only had to delete the namespace to make
the alarm go away. It stays until a person clears it.
"""

from typing import Final

from sandboxes.audit.queries import about
from sandboxes.lifecycle import alarms, drift, isolation, late, proving, stuck
from sandboxes.lifecycle.models import Sandbox

_OF_ITS_GOING_ON: Final = (stuck.ALARM, drift.STAYS, proving.UNPROVEN, late.ALARM)
# Written when an isolation began, or during it.
_OF_THE_SEAL: Final = (
    "sandbox.seal_changed",
    "sandbox.probe_failed",
    "sandbox.probe_unusable",
    "sandbox.isolation_broken",
)


def clear_alarms(sandbox: Sandbox) -> None:
    """In the transaction that ends it; last, because it writes to the ledger."""
    subject = f"sandbox:{sandbox.pk}"
    kinds = _OF_ITS_GOING_ON if _was_for_the_seal(subject) else (*_OF_ITS_GOING_ON, isolation.ALARM)
    for kind in kinds:
        alarms.clear(kind, subject, by=None)


def _was_for_the_seal(subject: str) -> bool:
    """Whether the newest isolation was, by the ledger: what it was released from was looked at by a person."""
    began = about(subject).filter(action="sandbox.isolated").last()
    return began is not None and about(subject).filter(id__gt=began.pk, action__in=_OF_THE_SEAL).exists()
