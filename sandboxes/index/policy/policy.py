"""What an admin set: a floor for the installation, and what a profile adds to it. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sandboxes.index.policy.facts import Severity
from sandboxes.index.policy.patterns import Pattern
from sandboxes.index.policy.waivers import Waiver

COOLDOWN = timedelta(days=7)
LONGEST_COOLDOWN = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Internal:
    """Names that belong to the company: they come from `source` alone, and from no upstream if it is ""."""

    pattern: Pattern
    source: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the allow or the deny list, with the reason that people are told."""

    pattern: Pattern
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The defaults are what a new installation has, but for `screened`: see `SHIPPED`."""

    cooldown: timedelta = COOLDOWN
    freeze_at: datetime | None = None  # "as of": nothing released later
    sdists: bool = False  # whether source distributions are given
    yanked: bool = True  # whether files that their own project yanked are given (marked as such)
    most_bytes: int | None = None  # of one file
    refuse_from: Severity | None = Severity.CRITICAL  # vulnerabilities of this severity and above
    screened: bool = False  # nothing is given before it was screened
    allow: tuple[Listed, ...] = ()  # vouched for: see `rules.VOUCHED_FOR`
    within: tuple[tuple[Listed, ...], ...] = ()  # lists of which a file must be on each
    deny: tuple[Listed, ...] = ()
    internal: tuple[Internal, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    def above(self, floor: "Policy") -> "Policy":
        """This profile's policy on the installation's floor: of each pair the stricter, of lists both.

        Vouching is the floor's alone: a profile's list can narrow what is given, and never widen it.
        """
        return Policy(
            cooldown=max(self.cooldown, floor.cooldown),
            freeze_at=min(filter(None, (self.freeze_at, floor.freeze_at)), default=None),
            sdists=self.sdists and floor.sdists,
            yanked=self.yanked and floor.yanked,
            most_bytes=min(
                (most for most in (self.most_bytes, floor.most_bytes) if most is not None), default=None
            ),
            refuse_from=min(filter(None, (self.refuse_from, floor.refuse_from)), default=None),
            screened=self.screened or floor.screened,
            allow=floor.allow,
            within=(*floor.within, *self.within),
            deny=(*floor.deny, *self.deny),
            internal=(*floor.internal, *self.internal),
            waivers=(*floor.waivers, *self.waivers),
        )

    def about(self, project: str) -> "Policy":
        """The same without what cannot concern that project: a page of 10,000 files meets each list many times."""
        return replace(
            self,
            allow=_naming(self.allow, project),
            within=tuple(_naming(entries, project) for entries in self.within),
            deny=_naming(self.deny, project),
            internal=tuple(entry for entry in self.internal if entry.pattern.names(project)),
        )

    def waived(self, waivers: tuple[Waiver, ...]) -> "Policy":
        return replace(self, waivers=waivers) if waivers != self.waivers else self


def _naming(entries: tuple[Listed, ...], project: str) -> tuple[Listed, ...]:
    return tuple(entry for entry in entries if entry.pattern.names(project))


# The floor of a new installation. A policy that is made by hand, for one question, knows no screener.
SHIPPED = Policy(screened=True)
# What a profile that says nothing of its own adds to the floor: nothing.
NEUTRAL = Policy(cooldown=timedelta(), sdists=True, refuse_from=None)
