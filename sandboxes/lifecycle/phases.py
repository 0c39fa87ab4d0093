"""The phases of a sandbox and the only moves between them.

    queued → pending → provisioning → probing → ready ⇄ hibernated (waking goes through probing)
                                                  ⇅
                                               isolated (release goes through probing)
    any of these → ending ⇄ stuck
                     └→ ended, or failed

A provision that fails goes through `ending` too: what it made must be seen gone.
"""

from enum import StrEnum


class Phase(StrEnum):
    QUEUED = "queued"  # approved; waits for room in a quota
    PENDING = "pending"
    PROVISIONING = "provisioning"
    PROBING = "probing"
    READY = "ready"
    HIBERNATED = "hibernated"  # nothing runs; the lease goes on
    ISOLATED = "isolated"  # cut off: no network, no access, no token
    ENDING = "ending"
    STUCK = "stuck"  # ending, and the cluster does not let go; tried again, quota still charged
    ENDED = "ended"
    FAILED = "failed"


MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.PENDING, Phase.ENDING}),
    Phase.PENDING: frozenset({Phase.PROVISIONING, Phase.ENDING}),
    Phase.PROVISIONING: frozenset({Phase.PROBING, Phase.ENDING}),
    Phase.PROBING: frozenset({Phase.READY, Phase.ISOLATED, Phase.ENDING}),
    Phase.READY: frozenset({Phase.HIBERNATED, Phase.ISOLATED, Phase.ENDING}),
    Phase.HIBERNATED: frozenset({Phase.PROBING, Phase.ISOLATED, Phase.ENDING}),
    Phase.ISOLATED: frozenset({Phase.PROBING, Phase.ENDING}),
    Phase.ENDING: frozenset({Phase.STUCK, Phase.ENDED, Phase.FAILED}),
    Phase.STUCK: frozenset({Phase.ENDING, Phase.ENDED, Phase.FAILED}),
    Phase.ENDED: frozenset(),
    Phase.FAILED: frozenset(),
}
LIVE = frozenset(
    {
        Phase.QUEUED,
        Phase.PENDING,
        Phase.PROVISIONING,
        Phase.PROBING,
        Phase.READY,
        Phase.HIBERNATED,
        Phase.ISOLATED,
    }
)
OPENED = frozenset({Phase.READY, Phase.HIBERNATED, Phase.ISOLATED})  # its lease runs; probing may be too
GOING = frozenset({Phase.ENDING, Phase.STUCK})
OVER = frozenset({Phase.ENDED, Phase.FAILED})
