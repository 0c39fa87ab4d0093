"""What policy kept back from one sandbox: newer versions than those it took, and files that it asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.approvals import waivers, why
from sandboxes.index.names import release_of
from sandboxes.index.npm import names as npm
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.waivers import About
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE
from sandboxes.usage.models import Fetch
from sandboxes.usage.queries import TakenOlder


@dataclass(frozen=True)
class Older:
    """A version that was taken in the place of a newer one.

    `opens`: when the newer one is given by itself; `given`: whether it is by now, None in a sandbox that is over.
    """

    row: TakenOlder
    newest: About
    opens: datetime | None
    given: bool | None


def older(sandbox: Sandbox, taken: Sequence[TakenOlder]) -> list[Older]:
    """`taken` is the sandbox's own. Each costs a look at what the index keeps of the project."""
    reader = why.Reader(clock.now()) if taken and sandbox.phase in LIVE else None
    subject = why.subject_of(sandbox)
    found = []
    for one in taken:
        about = waivers.about(one.ecosystem, one.project, one.withheld)
        now = reader.explain(about, subject) if reader else None
        given = now.given if now else None
        found.append(Older(one, about, now.opens if now and not given else None, given))
    return found


def refused_version(row: Fetch) -> str:
    """Which version a refused file is of, by its name; "" for names that are no distribution's."""
    if row.ecosystem == Ecosystem.NPM:
        return npm.version_of(row.project, row.filename)
    return release_of(row.project, row.filename.removesuffix(".metadata")) or ""
