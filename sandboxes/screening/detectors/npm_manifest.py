"""What an npm package's `package.json` says, as npm reads it, and which commands its installation runs.

Scripts that an installation's script names (`npm run go`) are run by it too, with those before and after them.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from sandboxes.screening.detectors.npm_commands import LONGEST
from sandboxes.screening.detectors.reading_code import once
from sandboxes.screening.package import Package

MANIFEST: Final = "package.json"
LARGEST: Final = 3_000_000  # bytes
HOOKS: Final = ("preinstall", "install", "postinstall")
SCRIPTS: Final = 60  # that are followed; no good package's installation runs them
_DIGITS: Final = 300  # more of them are no number to Python, and one to npm
_RUNS: Final = re.compile(
    r"\b(?:npm|yarn|pnpm|bun|run-s|run-p|npm-run-all2?|node\s+--run)\b(?:\.cmd)?([^;&|\n()]*)"
)


class Trouble(StrEnum):
    """Why it is not known what the file says."""

    ABSENT = "there is none"
    LARGE = "it is larger than what is read"
    DEEP = "it is too deep to be read"
    BROKEN = "it is no object of JSON"


@dataclass(frozen=True)
class Manifest:
    said: dict[str, Any]
    text: str = ""
    trouble: Trouble | None = None

    @property
    def scripts(self) -> dict[str, str]:
        scripts = self.said.get("scripts")
        listed = scripts.items() if isinstance(scripts, dict) else ()
        return {name: text for name, text in listed if isinstance(text, str) and text.strip()}


def manifest(package: Package) -> Manifest:
    return once(package, "npm manifest", lambda: _manifest(package))


def _manifest(package: Package) -> Manifest:
    member = package.member(MANIFEST)
    if member is None:
        return Manifest({}, trouble=Trouble.ABSENT)
    if member.size > LARGEST:
        return Manifest({}, trouble=Trouble.LARGE)
    text = member.text(LARGEST).removeprefix("\ufeff")  # as npm does
    try:
        said = json.loads(text, parse_int=_number)
    except RecursionError:
        return Manifest({}, text, Trouble.DEEP)
    except ValueError:
        return Manifest({}, text, Trouble.BROKEN)
    return Manifest(said, text) if isinstance(said, dict) else Manifest({}, text, Trouble.BROKEN)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else 0


def commands(package: Package) -> Iterator[tuple[str, str]]:
    """Those that its installation runs, by the name of their script."""
    scripts = manifest(package).scripts
    waiting = list(HOOKS)
    done: set[str] = set()
    while waiting and len(done) < SCRIPTS:
        name = waiting.pop(0)
        if name in done or name not in scripts:
            continue
        done.add(name)
        yield name, scripts[name]
        for further in _named_in(scripts[name], scripts):
            waiting += [f"pre{further}", further, f"post{further}"]


def _named_in(command: str, scripts: dict[str, str]) -> Iterator[str]:
    for match in _RUNS.finditer(command[:LONGEST]):
        for word in re.findall(r"[^\s\"'\\]+", match[1]):
            if word in scripts:
                yield word
            elif "*" in word:  # run-s build:*
                yield from (name for name in scripts if fnmatchcase(name, word))
