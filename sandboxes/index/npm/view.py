"""A packument as one policy sees it: which versions are given, what is said of the others, the tags. Pure.

A tag whose version is refused points to the newest one before it that is given, as npm's own `--before` has
it: who asks for `latest` takes what there is. Where there is none it stays, so that npm says why.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from semver import Version

from sandboxes.index import refusals
from sandboxes.index.candidates import Stated, candidate
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.npm.names import filename_of, read
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.page import File
from sandboxes.index.policy.decide import Decision, Verdict, decide
from sandboxes.index.policy.facts import Candidate, Ecosystem
from sandboxes.index.policy.policy import Policy
from sandboxes.index.withheld import Withheld

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

    refused: frozenset[str]
    tags: Mapping[str, str]
    message: str
    digest: str  # "" when nothing is refused
    settled_until: datetime | None
    withheld: Withheld | None


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


def replacements(packument: Packument) -> dict[str, str]:
    """As `candidates.replacements`, by SemVer's order."""
    found: dict[str, str] = {}
    newest = final = ""
    for version, text in sorted(_versions(packument.releases)):
        found[text] = newest if version.prerelease else final
        newest = text
        final = final if version.prerelease else text
    return found


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
    before = replacements(packument) if knowledge.advised else {}
    decisions: dict[str, Decision] = {}
    for release in packument.releases:
        about = stated(packument, release, before.get(release.version, ""), stored.get(release.version))
        informed = knowledge.informed(npm_candidate(about), about.replaces)
        decisions[release.version] = decide(informed, policy, now)
    refused = frozenset(v for v, decision in decisions.items() if decision.verdict is Verdict.REFUSE)
    tags, message = _tags(packument, refused), _message(packument.name, refused, decisions, public_url)
    moments = [decision.settled_until for decision in decisions.values()]
    return View(
        refused,
        tags,
        message,
        _digest(refused, tags, message),
        min((moment for moment in moments if moment is not None), default=None),
        _withheld(packument, decisions, refused),
    )


def _tags(packument: Packument, refused: frozenset[str]) -> dict[str, str]:
    """Deprecated versions are taken only where there are no others, as npm does."""
    given = [release for release in packument.releases if release.version not in refused]
    ordered = sorted(
        (not release.deprecated, *pair) for release, pair in zip(given, _pairs(given), strict=True)
    )
    return {
        tag: _instead(tag, version, ordered) if version in refused else version
        for tag, version in packument.tags.items()
    }


def _instead(tag: str, version: str, given: list[tuple[bool, Version, str]]) -> str:
    tagged = _read(version)
    below = [text for _, found, text in given if found <= tagged and _is_in_line(found, tagged)]
    if not below and tag == _LATEST:
        below = [text for _, found, text in given if not found.prerelease]
    return below[-1] if below else version


def _is_in_line(version: Version, tagged: Version) -> bool:
    """A pre-release only where the tag is one of the same version: `<=` means so in npm's ranges."""
    return not version.prerelease or version.finalize_version() == tagged.finalize_version()


def _message(name: str, refused: frozenset[str], decisions: Mapping[str, Decision], public_url: str) -> str:
    newest = [text for _, text in sorted(((_read(text), text) for text in refused), reverse=True)]
    lines = [
        f"{name}@{text}: {refusals.sentence(decisions[text], _why(public_url, name, text))}"
        for text in newest[:_TOLD]
    ]
    if len(newest) > _TOLD:
        lines.append(f"and {len(newest) - _TOLD} older versions: {_why(public_url, name, newest[_TOLD])}")
    return "\n".join(lines)


def _why(public_url: str, name: str, version: str) -> str:
    return refusals.why_url(public_url, Ecosystem.NPM.value, name, version)


def _withheld(
    packument: Packument, decisions: Mapping[str, Decision], refused: frozenset[str]
) -> Withheld | None:
    """As `withheld.withheld_on`: the newest version of all, if it is refused."""
    candidates = [
        pair
        for release, pair in zip(packument.releases, _pairs(packument.releases), strict=True)
        if not pair[0].prerelease and not (release.version in refused and release.deprecated)
    ]
    if not candidates:
        return None
    _, newest = max(candidates)
    return Withheld(newest, decisions[newest].findings[0].rule.value) if newest in refused else None


def _versions(releases: Iterable[Release]) -> list[tuple[Version, str]]:
    return [(_read(release.version), release.version) for release in releases]


_pairs = _versions


def _read(version: str) -> Version:
    found = read(version)
    assert found is not None  # noqa: S101 -- `reading.py` takes over no other
    return found


def _digest(refused: frozenset[str], tags: Mapping[str, str], message: str) -> str:
    if not refused:
        return ""
    return hashlib.sha256(json.dumps([sorted(refused), tags, message]).encode()).hexdigest()
