"""Reading one OSV record (https://ossf.github.io/osv-schema/): what of it concerns us. Pure.

A record is taken whole or not at all (`BrokenRecordError`): half of one would look like knowledge.
What is doubtful counts against the file: a range without a beginning begins at 0, malware that
names no version means the whole project.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sandboxes.errors import InvalidInputError
from sandboxes.screening import versions
from sandboxes.screening.severity import severity_of
from sandboxes.screening.words import Ecosystem, Severity, normalised

OWN: Final = "PETRI-"  # ids of advisories that were declared here
_MALWARE: Final = "MAL-"  # https://github.com/ossf/malicious-packages
_EVENTS: Final = ("introduced", "fixed", "last_affected", "limit")
_RANGES: Final = ("ECOSYSTEM", "SEMVER")  # GIT's are commits: nothing that an index serves has one
_ECOSYSTEMS: Final = {"pypi": Ecosystem.PYPI, "npm": Ecosystem.NPM}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_PROJECT: Final = {
    Ecosystem.PYPI: re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?"),
    Ecosystem.NPM: re.compile(r"(?:@[A-Za-z0-9._~-]{1,100}/)?[A-Za-z0-9._~!'()*-]{1,214}"),
}
_SUMMARY = 300  # characters
_DEEPEST = 100  # levels of a document; PostgreSQL would take some thousand

type Range = tuple[tuple[str, str], ...]  # (event, version), in the record's order


class BrokenRecordError(InvalidInputError):
    """It cannot be read as an OSV record; says why."""


@dataclass(frozen=True, slots=True)
class AffectedProject:
    ecosystem: Ecosystem
    project: str  # normalised
    versions: tuple[str, ...]  # in one spelling each, see `versions.spellings`
    ranges: tuple[Range, ...]

    def ranges_as_json(self) -> str:
        return json.dumps(self.ranges)


@dataclass(frozen=True, slots=True)
class Record:
    id: str
    modified: datetime
    published: datetime | None
    withdrawn_at: datetime | None
    malicious: bool
    severity: Severity | None  # None: nobody rated it
    summary: str
    aliases: tuple[str, ...]
    affected: tuple[AffectedProject, ...]  # in ecosystems served here; empty: nothing for us
    document: str  # JSON, as PostgreSQL takes it

    def unreadable(self) -> list[str]:
        """Versions in its ranges that cannot be compared: `matching.py` says what becomes of those."""
        return [
            version
            for each in self.affected
            for events in each.ranges
            for _, version in events
            if version not in ("0", "*") and versions.read(each.ecosystem, version) is None
        ]


def read(document: object, now: datetime) -> Record:
    """`now`: none was modified later, or it could never be corrected. Raises `BrokenRecordError`."""
    if not isinstance(document, dict):
        raise BrokenRecordError("it is no JSON object")
    fields, text = _storable(document)
    identity, aliases = _identity(fields), _strings(fields, "aliases")
    malicious = _is_malicious(identity, aliases, fields)
    ours = [entry for entry in _objects(fields, "affected") if _ecosystem(entry) is not None]
    return Record(
        id=identity,
        modified=min(_time(fields, "modified") or _missing("modified"), now),
        published=_time(fields, "published"),
        withdrawn_at=_time(fields, "withdrawn"),
        malicious=malicious,
        severity=severity_of(fields, *ours) if ours else None,
        summary=_summary(fields),
        aliases=aliases,
        affected=tuple(_affected(ours, malicious=malicious)),
        document=text,
    )


def _affected(entries: list[dict[str, Any]], *, malicious: bool) -> Iterator[AffectedProject]:
    for entry in entries:
        ecosystem = _ecosystem(entry)
        if ecosystem is None:
            continue
        name = entry["package"].get("name")
        if not isinstance(name, str) or not _PROJECT[ecosystem].fullmatch(name):
            raise BrokenRecordError(f"{_shown(name)} is no name of a project")
        listed = _strings(entry, "versions")
        ranges = tuple(_range(each) for each in _objects(entry, "ranges") if each.get("type") in _RANGES)
        if malicious and not listed and not ranges:
            ranges = ((("introduced", "0"),),)
        if listed or ranges:  # else commits only: no version can be told from those
            spelt = dict.fromkeys(versions.spellings(ecosystem, version)[0] for version in listed)
            yield AffectedProject(ecosystem, normalised(ecosystem, name), tuple(spelt), ranges)


def _range(entry: dict[str, Any]) -> Range:
    found: list[tuple[str, str]] = []
    for event in _objects(entry, "events"):
        for kind, version in event.items():
            if kind not in _EVENTS:
                continue
            if not isinstance(version, str):
                raise BrokenRecordError(f"{kind} {_shown(version)} is no version")
            found.append((kind, version.strip()))
    if all(kind != "introduced" for kind, _ in found):
        found.insert(0, ("introduced", "0"))
    return tuple(found)


def _ecosystem(entry: dict[str, Any]) -> Ecosystem | None:
    package = entry.get("package")
    if package is None:
        return None  # of a repository, not of a project
    if not isinstance(package, dict) or not isinstance(package.get("ecosystem"), str):
        raise BrokenRecordError("an affected package names no ecosystem")
    return _ECOSYSTEMS.get(package["ecosystem"].partition(":")[0].lower())


def _is_malicious(identity: str, aliases: tuple[str, ...], fields: dict[str, Any]) -> bool:
    if any(name.upper().startswith(_MALWARE) for name in (identity, *aliases)):
        return True
    said = fields.get(
        "database_specific"
    )  # whose fields mean what its database says: only ours is known here
    return identity.startswith(OWN) and isinstance(said, dict) and said.get("malicious") is True


def _identity(fields: dict[str, Any]) -> str:
    identity = fields.get("id")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise BrokenRecordError(f"{_shown(identity)} is no id")
    return identity


def _summary(fields: dict[str, Any]) -> str:
    """Many records have only details; their first line says most."""
    for name in ("summary", "details"):
        text = fields.get(name)
        if isinstance(text, str) and text.strip():
            line = text.strip().splitlines()[0]
            return line if len(line) <= _SUMMARY else line[: _SUMMARY - 1] + "…"
    return ""


def _time(fields: dict[str, Any], name: str) -> datetime | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value)
        return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise BrokenRecordError(f"{name} {_shown(value)} is no time") from None


def _missing(name: str) -> datetime:
    raise BrokenRecordError(f"{name} is missing")


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = fields.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BrokenRecordError(f"{name} is no list of objects")
    return found


def _strings(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    found = fields.get(name)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BrokenRecordError(f"{name} is no list of texts")
    return tuple(dict.fromkeys(found))


def _storable(document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The document and its JSON, without what PostgreSQL cannot keep: U+0000, and halves of surrogate pairs.

    What a record says does not depend on those, so they are no reason to do without it.
    """
    try:
        text = json.dumps(document, allow_nan=False)
        if "\\u0000" in text or "\\ud" in text:
            document = _clean(document, _DEEPEST)
            text = json.dumps(document, allow_nan=False)
    except (RecursionError, ValueError) as error:
        raise BrokenRecordError("it is nested too deeply, or holds a number that is none") from error
    return document, text


def _clean(value: Any, levels: int) -> Any:
    if levels == 0:
        raise RecursionError
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_clean(each, levels - 1) for each in value]
    if isinstance(value, dict):
        return {_clean(name, levels - 1): _clean(each, levels - 1) for name, each in value.items()}
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
