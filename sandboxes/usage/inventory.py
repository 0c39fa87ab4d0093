"""What is installed in a sandbox, compared with what it received through the index. Pure.

- *as_received*: a version that the sandbox received, and no file of it differs from its RECORD
- *altered*: one that it received, of which files are gone or are not what RECORD says they were when installed
- *sideloaded*: there, and never received: copied in, built in place, or brought by something that ran; also what lies
  beside installed distributions and no RECORD names: modules, `.pth` files, `.egg-info`
- *missing*: received, and not there in any version: removed, or only ever downloaded

RECORD is beside the files that it vouches for: who changes both is not seen. npm keeps no such list, so of its
packages only the version is compared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from packaging.utils import canonicalize_name, canonicalize_version

LONGEST: Final = 5000  # entries that are kept of one look
_PYPI: Final = "pypi"


class State(StrEnum):
    AS_RECEIVED = "as_received"
    ALTERED = "altered"
    SIDELOADED = "sideloaded"
    MISSING = "missing"


_ORDER: Final = {State.ALTERED: 0, State.SIDELOADED: 1, State.MISSING: 2, State.AS_RECEIVED: 3}


@dataclass(frozen=True, slots=True)
class Entry:
    """A package; `path` is where it is, `altered` are some of its files that differ, `altered_count` all of them."""

    ecosystem: str
    name: str
    version: str
    state: State
    path: str = ""
    altered: tuple[str, ...] = ()
    altered_count: int = 0

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "altered": list(self.altered)}


@dataclass(frozen=True, slots=True)
class Received:
    """A version of which the sandbox received a file."""

    ecosystem: str
    project: str
    version: str


def compare(found: Iterable[Any], received: Iterable[Received]) -> list[Entry]:
    """What needs a look first. `found` is what the script in the pod says, so any of it may be nonsense."""
    had: dict[tuple[str, str], dict[str, str]] = {}
    for each in received:  # the newest last
        versions = had.setdefault((each.ecosystem, each.project), {})
        versions[_spelled(each.ecosystem, each.version)] = each.version
    judged = [entry for item in found if (entry := _judged(item, had)) is not None]
    entries = judged + [entry for item in found if (entry := _loose(item)) is not None]
    there = {(entry.ecosystem, entry.name) for entry in judged}
    entries += [
        Entry(ecosystem, project, list(versions.values())[-1], State.MISSING)
        for (ecosystem, project), versions in had.items()
        if (ecosystem, project) not in there
    ]
    entries.sort(key=lambda entry: (_ORDER[entry.state], entry.ecosystem, entry.name, entry.version))
    return entries[:LONGEST]


def _judged(item: Any, had: Mapping[tuple[str, str], Mapping[str, str]]) -> Entry | None:
    """None for what is no entry."""
    if not isinstance(item, Mapping) or item.get("unrecorded") is True:
        return None
    ecosystem, name, version = (_text(item.get(field)) for field in ("ecosystem", "name", "version"))
    if ecosystem not in (_PYPI, "npm") or not name:
        return None
    name = canonicalize_name(name) if ecosystem == _PYPI else name
    listed = item.get("altered")
    altered = tuple(_text(each) for each in listed[:10]) if isinstance(listed, list) else ()
    count = item.get("altered_count")
    count = count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else len(altered)
    if _spelled(ecosystem, version) not in had.get((ecosystem, name), {}):
        state = State.SIDELOADED
    else:
        state = State.ALTERED if altered else State.AS_RECEIVED
    return Entry(ecosystem, name, version, state, _text(item.get("path")), altered, min(count, 10**6))


def _loose(item: Any) -> Entry | None:
    """Of what lies there and no RECORD names: that is no project, whatever it is called. None for anything else."""
    if not isinstance(item, Mapping) or item.get("unrecorded") is not True:
        return None
    name = _text(item.get("name"))
    return Entry(_PYPI, name, "", State.SIDELOADED, _text(item.get("path"))) if name else None


def _spelled(ecosystem: str, version: str) -> str:
    """1.0 and 1.0.0 are one version (PEP 440); npm's are as they are."""
    return canonicalize_version(version) if ecosystem == _PYPI else version


def _text(value: Any) -> str:
    """As a database takes it."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:300]
