"""All policy of an installation as one immutable thing, made of its rows. Pure.

The statements are here too, so whoever reads the tables (the index process, the portal) reads the same.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandboxes.index.policy.facts import Ecosystem, Severity
from sandboxes.index.policy.patterns import parse
from sandboxes.index.policy.policy import NEUTRAL, SHIPPED, Internal, Listed, Policy
from sandboxes.index.policy.waivers import Scope, Subject, Waiver

SETTINGS: Final = """
SELECT profile, cooldown, freeze_at, sdists, yanked, most_bytes, refuse_from, screened, only_allowed
FROM index_policysetting"""
ENTRIES: Final = """
SELECT profile, ecosystem, kind, pattern, reason, source FROM index_listentry
WHERE ended_at IS NULL ORDER BY id"""
WAIVERS: Final = """
SELECT id, rule, ecosystem, project, version, scope, subject, until, break_glass FROM index_waiver
WHERE state = 'granted' AND until > now() ORDER BY id"""

FLOOR: Final = ""  # the profile that everybody has
# What a profile without a row adds; without its row the floor is what a new installation has.
_DEFAULTS: Final = {FLOOR: SHIPPED}

type Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ruling:
    """The policy for one sandbox and one project; equal keys mean equal policies."""

    policy: Policy
    key: Hashable


class Rulebook:
    """Raises `InvalidInputError` or `ValueError` for rows that cannot be read: better no policy than half of one."""

    def __init__(
        self, edition: Hashable, settings: Iterable[Row], entries: Iterable[Row], waivers: Iterable[Row]
    ) -> None:
        """`edition` says which state of the tables these rows are, or a later one."""
        self.edition = edition
        self._rows = {row["profile"]: row for row in settings}
        self._entries: dict[tuple[str, str], list[Row]] = {}
        for row in entries:
            self._entries.setdefault((row["profile"], row["ecosystem"]), []).append(row)
        self._policies = {
            (profile, ecosystem): self._policy(profile, ecosystem)
            for ecosystem in Ecosystem
            for profile in {FLOOR, *self._rows, *(profile for profile, _ in self._entries)}
        }
        numbers = {policy: n for n, policy in enumerate(dict.fromkeys(self._policies.values()))}
        self._keys = {which: numbers[policy] for which, policy in self._policies.items()}
        self._waivers: dict[tuple[Ecosystem, str], list[Waiver]] = {}
        for waiver in map(_waiver, waivers):
            self._waivers.setdefault((waiver.ecosystem, waiver.project), []).append(waiver)

    def ruling(self, subject: Subject, ecosystem: Ecosystem, project: str) -> Ruling:
        profile = subject.profile if (subject.profile, ecosystem) in self._policies else FLOOR
        policy = self._policies[profile, ecosystem]
        waivers = tuple(
            waiver for waiver in self._waivers.get((ecosystem, project), ()) if waiver.holds_for(subject)
        )
        key = (self.edition, self._keys[profile, ecosystem], tuple(waiver.id for waiver in waivers))
        return Ruling(policy.waived(waivers), key)

    def _policy(self, profile: str, ecosystem: Ecosystem) -> Policy:
        own = self._own(profile, ecosystem)
        return own if profile == FLOOR else own.above(self._own(FLOOR, ecosystem))

    def _own(self, profile: str, ecosystem: Ecosystem) -> Policy:
        """What that profile says by itself."""
        row = self._rows.get(profile)
        plain = _DEFAULTS.get(profile, NEUTRAL)
        entries = self._entries.get((profile, ecosystem.value), [])
        allow = _listed(entries, "allow", ecosystem)
        return Policy(
            cooldown=row["cooldown"] if row else plain.cooldown,
            freeze_at=row["freeze_at"] if row else None,
            sdists=row["sdists"] if row else plain.sdists,
            yanked=row["yanked"] if row else plain.yanked,
            most_bytes=row["most_bytes"] if row else None,
            refuse_from=_severity(row["refuse_from"]) if row else plain.refuse_from,
            screened=row["screened"] if row else plain.screened,
            allow=allow,
            within=(allow,) if row and row["only_allowed"] else (),
            deny=_listed(entries, "deny", ecosystem),
            internal=tuple(
                Internal(parse(entry["pattern"], ecosystem), entry["source"])
                for entry in entries
                if entry["kind"] == "internal"
            ),
        )


def _listed(entries: Iterable[Row], kind: str, ecosystem: Ecosystem) -> tuple[Listed, ...]:
    return tuple(
        Listed(parse(entry["pattern"], ecosystem), entry["reason"])
        for entry in entries
        if entry["kind"] == kind
    )


def _severity(number: int | None) -> Severity | None:
    return None if number is None else Severity(number)


def _waiver(row: Row) -> Waiver:
    return Waiver(
        id=row["id"],
        rule=row["rule"],
        ecosystem=Ecosystem(row["ecosystem"]),
        project=row["project"],
        version=row["version"],
        scope=Scope(row["scope"]),
        subject=row["subject"],
        until=row["until"],
        break_glass=row["break_glass"],
    )
