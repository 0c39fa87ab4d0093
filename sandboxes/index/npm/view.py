"""A packument as one policy sees it: which versions are given, what is said of the others, the tags. Pure.

A tag whose version is refused points to the newest one before it that is given, as npm's own `--before` has
it: who asks for `latest` takes what there is. Where there is none it stays, so that npm says why.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final

from msgspec.structs import replace

from sandboxes.index import refusals, weights
from sandboxes.index.candidates import Stated, candidate
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.npm.names import Order, filename_of, order
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.page import File
from sandboxes.index.policy import rules
from sandboxes.index.policy.decide import Decision, Verdict, decide
from sandboxes.index.policy.facts import Candidate, Ecosystem
from sandboxes.index.policy.policy import Policy
from sandboxes.index.withheld import Withheld

type _Placed = tuple[Order, str]
type _Refused = Mapping[str, Decision]

_EMPTY: Final = 2_500  # bytes that a view of nothing takes
_TAG: Final = 250
_LATEST: Final = "latest"
_TOLD: Final = 50  # refused versions whose reason stands in a packument, the newest first


@dataclass(frozen=True, slots=True)
class Stored:
    """A tarball whose bytes are known."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class View:
    """`message`: of the refused versions, a line each; "" when none is."""

    refused: Mapping[str, Decision]
    tags: Mapping[str, str]
    message: str
    digest: str  # "" when nothing is refused
    settled_until: datetime | None
    withheld: Withheld | None

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory, with its key."""
        tags = sum(_TAG + len(tag) for tag in self.tags)
        return _EMPTY + weights.decisions(self.refused) + tags + weights.texts([self.message])


def stated(packument: Packument, release: Release, replaces: str, stored: Stored | None) -> Stated:
    """A release as policy wants to know it. Its size is the larger of what was said and what came."""
    said = release.size
    file = File(
        filename=filename_of(packument.name, release.version),
        version=release.version,
        sha256=stored.sha256 if stored else "",
        url=release.url,
        size=max(said, stored.size) if stored and said is not None else said,
        upload_time=release.published,
        yanked=release.deprecated or False,
        seen_at=release.seen_at,
        absent_at=release.absent_at,
    )
    return Stated(packument.name, file, packument.source, replaces)


def npm_candidate(about: Stated) -> Candidate:
    return replace(candidate(about), ecosystem=Ecosystem.NPM, built=True)


def make_view(
    packument: Packument,
    policy: Policy,
    knowledge: Knowledge,
    stored: Mapping[str, Stored],
    now: datetime,
    public_url: str,
) -> View:
    """`stored`: by version, of those whose bytes screening has something against."""
    policy = policy.about(packument.name)
    before = packument.replaced if knowledge.advised else {}
    checks = rules.asked(policy)
    decisions: dict[str, Decision] = {}
    for release in packument.releases:
        about = stated(packument, release, before.get(release.version, ""), stored.get(release.version))
        informed = knowledge.informed(npm_candidate(about), about.replaces, screened=policy.screened)
        decisions[release.version] = decide(informed, policy, now, checks)
    refused = {v: decision for v, decision in decisions.items() if decision.verdict is Verdict.REFUSE}
    tags, message = _tags(packument, refused), _message(packument, refused, public_url)
    moments = [decision.settled_until for decision in decisions.values()]
    return View(
        refused,
        tags,
        message,
        _digest(refused, tags, message),
        min((moment for moment in moments if moment is not None), default=None),
        _withheld(packument, refused),
    )


class _Given:
    """Versions that can take the place of a refused one, in SemVer's order; deprecated ones apart."""

    def __init__(self, packument: Packument, refused: _Refused) -> None:
        self._stable: dict[bool, list[_Placed]] = {False: [], True: []}
        self._others: dict[tuple[bool, tuple[int, int, int]], list[_Placed]] = {}
        for place, release in packument.ordered:
            if release.version not in refused:
                deprecated = bool(release.deprecated)
                others = self._others.setdefault((deprecated, place.core), [])
                (self._stable[deprecated] if place.stable else others).append((place, release.version))

    def instead_of(self, tag: str, version: str) -> str:
        """Pre-releases only of the same version: `<=` means so in npm's ranges."""
        place = order(version)
        for deprecated in (False, True):
            stable = _last(self._stable[deprecated], place)
            other = _last(self._others.get((deprecated, place.core), []), place)
            if found := max(filter(None, (stable, other)), default=None):
                return found[1]
        newest = [pairs[-1][1] for pairs in self._stable.values() if pairs] if tag == _LATEST else []
        return newest[0] if newest else version


def _last(pairs: list[_Placed], place: Order) -> _Placed | None:
    """The newest that is no newer than `place`."""
    number = bisect_right(pairs, place, key=itemgetter(0))
    return pairs[number - 1] if number else None


def _tags(packument: Packument, refused: _Refused) -> dict[str, str]:
    """Deprecated versions are taken only where there are no others, as npm does."""
    if refused.keys().isdisjoint(packument.tags.values()):
        return packument.tags
    given = _Given(packument, refused)
    return {
        tag: given.instead_of(tag, version) if version in refused else version
        for tag, version in packument.tags.items()
    }


def _message(packument: Packument, refused: _Refused, public_url: str) -> str:
    if not refused:
        return ""
    name = packument.name
    newest = [each.version for _, each in reversed(packument.ordered) if each.version in refused]
    lines = [
        f"{name}@{text}: {refusals.sentence(refused[text], why_url(public_url, name, text))}"
        for text in newest[:_TOLD]
    ]
    if len(newest) > _TOLD:
        lines.append(f"and {len(newest) - _TOLD} older versions: {why_url(public_url, name, newest[_TOLD])}")
    return "\n".join(lines)


def why_url(public_url: str, name: str, version: str) -> str:
    return refusals.why_url(public_url, Ecosystem.NPM.value, name, version)


def _withheld(packument: Packument, refused: _Refused) -> Withheld | None:
    """As `withheld.withheld_on`: the newest version of all, if it is refused."""
    for place, release in reversed(packument.ordered):
        if not place.stable:
            continue
        if release.version not in refused:
            return None
        if not release.deprecated:
            return Withheld(release.version, refused[release.version].findings[0].rule.value)
    return None


def _digest(refused: _Refused, tags: Mapping[str, str], message: str) -> str:
    if not refused:
        return ""
    return hashlib.sha256(json.dumps([sorted(refused), tags, message]).encode()).hexdigest()
