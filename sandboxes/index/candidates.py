"""Files as policy wants to know them. Pure.

A file on a page and the same file's row give the same candidate: the row keeps what the page said
(`facts_of`), and is brought up to date when the page has moved on (`files.py`).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
from packaging.version import InvalidVersion, Version

from sandboxes.index.page import File, Page
from sandboxes.index.policy.facts import Candidate, Ecosystem

# Since when a file is known that nobody says anything of: never, as far as waiting goes.
_DAY: Final = len("2026-01-01")
_NEVER: Final = datetime(3000, 1, 1, tzinfo=UTC)


class Stated(msgspec.Struct, frozen=True):
    """A file, and what its page says beyond it."""

    project: str  # normalised
    file: File
    source: str  # the upstream's name
    replaces: str = ""  # the version that it is to take the place of; "" if there is none


def on_page(page: Page, file: File) -> Stated:
    return Stated(page.project, file, page.source, replaces(file, replacements(page), debuts(page)))


def replaces(file: File, before: Mapping[str, str], debut: Mapping[str, str]) -> str:
    """The version that `file`'s is to take the place of; "" for a file that was added to an older release."""
    late = file.upload_time is None or file.upload_time[:_DAY] > _next_day(debut[file.version])
    return "" if late else before.get(file.version, "")


def debuts(page: Page) -> dict[str, str]:
    """Each version with the day on which its first file came; a file without an upload time has no day."""
    found: dict[str, str] = {}
    for file in page.files:
        day = (file.upload_time or "")[:_DAY]
        found[file.version] = min(found.get(file.version, day), day) if day else found.get(file.version, "")
    return found


def _next_day(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat() if day else ""


def facts_of(stated: Stated) -> dict[str, Any]:
    """What a row keeps beyond its columns, as JSON."""
    file = stated.file
    return {
        "upload_time": file.upload_time,
        "yanked": file.yanked,
        "seen_at": file.seen_at,
        "absent_at": file.absent_at,
        "source": stated.source,
        "replaces": stated.replaces,
    }


def candidate(stated: Stated) -> Candidate:
    file = stated.file
    return Candidate(
        ecosystem=Ecosystem.PYPI,
        project=stated.project,
        version=file.version,
        filename=file.filename,
        sha256=file.sha256,
        source=stated.source,
        built=file.filename.endswith(".whl"),
        seen_at=_common_moment(file.seen_at) or _NEVER,
        uploaded_at=_moment(file.upload_time),
        absent_at=_common_moment(file.absent_at),
        size=file.size,
        yanked=file.yanked is not False,
    )


def replacements(page: Page) -> dict[str, str]:
    """Each version with the newest one before it, by PEP 440's order; only a pre-release follows a pre-release."""
    versions = {_version(text): text for text in {file.version for file in page.files}}
    found: dict[str, str] = {}
    newest = final = ""  # so far: of all, and of those that are no pre-release
    for version in sorted(version for version in versions if version is not None):
        text = versions[version]
        found[text] = newest if version.is_prerelease else final
        newest = text
        final = final if version.is_prerelease else text
    return found


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _moment(text: str | None) -> datetime | None:
    """No later than `_NEVER`: an upstream may claim the year 9999, to which no cooldown can be added."""
    return min(datetime.fromisoformat(text), _NEVER) if text else None


# When a page was looked at is the same for most of its files.
_common_moment = lru_cache(maxsize=256)(_moment)


def stated_of_row(project: str, row: Mapping[str, Any], seen_at: str) -> Stated:
    """`seen_at`: what to take for a row of which no page has said anything yet."""
    facts = row["facts"]
    file = File(
        filename=row["filename"],
        version=row["version"],
        sha256=row["sha256"],
        url=row["url"],
        size=row["size"],
        upload_time=facts.get("upload_time"),
        yanked=facts.get("yanked", False),
        metadata_sha256=row["metadata_sha256"],
        seen_at=facts.get("seen_at") or seen_at,
        absent_at=facts.get("absent_at") or "",
    )
    return Stated(project, file, facts.get("source", ""), facts.get("replaces", ""))
