"""The phases of a sandbox and the only moves between them.

    pending → provisioning → probing → ready → ending → ended
       └────────────┴────────────┴────────────────┘ └──→ failed

A provision that fails goes through `ending` too: what it made must be seen gone.
"""

from enum import StrEnum


class Phase(StrEnum):
    PENDING = "pending"
    PROVISIONING = "provisioning"
    PROBING = "probing"
    READY = "ready"
    ENDING = "ending"
    ENDED = "ended"
    FAILED = "failed"


MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.PENDING: frozenset({Phase.PROVISIONING, Phase.ENDING}),
    Phase.PROVISIONING: frozenset({Phase.PROBING, Phase.ENDING}),
    Phase.PROBING: frozenset({Phase.READY, Phase.ENDING}),
    Phase.READY: frozenset({Phase.ENDING}),
    Phase.ENDING: frozenset({Phase.ENDED, Phase.FAILED}),
    Phase.ENDED: frozenset(),
    Phase.FAILED: frozenset(),
}
LIVE = frozenset({Phase.PENDING, Phase.PROVISIONING, Phase.PROBING, Phase.READY})
OVER = frozenset({Phase.ENDED, Phase.FAILED})
