"""The fake credentials of one sandbox, on its page: that they are there, and who used one."""

from dataclasses import dataclass
from typing import Any, Final

from sandboxes.lifecycle import honeytokens
from sandboxes.lifecycle.models import Honeytoken, HoneytokenUse, Sandbox

NEWEST: Final = 10


@dataclass(frozen=True)
class Line:
    """A use, in words; `elsewhere` is the sandbox it came from, if that is another one."""

    row: HoneytokenUse
    what: str
    elsewhere: Sandbox | None


def shown(sandbox: Sandbox) -> dict[str, Any]:
    """What the section on the sandbox's page needs."""
    return {
        # Once each: one that was open during an update may have two of a kind.
        "planted": list(
            dict.fromkeys(honeytokens.name_of(row.kind) for row in Honeytoken.objects.filter(sandbox=sandbox))
        ),
        "lines": [_line(row, sandbox) for row in honeytokens.used(sandbox)[:NEWEST]],
    }


def version(sandbox: Sandbox) -> tuple[object, ...]:
    """Changes when the section does."""
    return tuple(sandbox.honeytokens.order_by("id").values_list("pk", "uses"))


def _line(row: HoneytokenUse, sandbox: Sandbox) -> Line:
    elsewhere = row.seen_in if row.seen_in_id not in (None, sandbox.pk) else None
    return Line(row, honeytokens.name_of(row.token.kind), elsewhere)
