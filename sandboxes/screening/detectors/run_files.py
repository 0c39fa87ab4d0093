"""Code that stands in another file and is run from there: `exec(open("thing/version.py").read())`.

The file is looked at as part of the run that reads it. What cannot be found, or does not parse, is code that nobody
looked at: `judging` says so.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sandboxes.screening.detectors.judging import When, judge
from sandboxes.screening.detectors.reading_code import LARGEST, Source, decoded, parsed
from sandboxes.screening.detectors.running import Run
from sandboxes.screening.detectors.values import Origin
from sandboxes.screening.findings import Found
from sandboxes.screening.package import Member, Package

_FILES: Final = 10  # of a run
_LAYERS: Final = 3  # files that run files


def executed_files(package: Package, run: Run, when: When, path: str, layer: int = 0) -> Iterator[Found]:
    """What they do. Events of the run that read them know afterwards that they were followed."""
    followed = 0
    for place, event in enumerate(run.events):
        if event.kind != "execute" or Origin.FILE not in event.origins or followed >= _FILES:
            continue
        member = _member(package, event.read_from, path)
        tree = _tree(member) if member is not None else None
        if member is None or tree is None or layer >= _LAYERS:
            continue
        followed += 1
        other = Run(module=run.module, is_package=run.is_package, main=run.main, globals=run.globals)
        other.module_level(tree.body)
        yield from executed_files(package, other, when, path, layer + 1)
        source = Source(member.path, member.read(LARGEST), run.module, is_package=False, is_test=False)
        yield from judge(other.events, when, source)
        run.events[place] = replace(event, followed=not other.exhausted)


def _tree(member: Member) -> ast.Module | None:
    if member.size > LARGEST:
        return None
    return parsed(decoded(member.read(LARGEST)))[0]


def _member(package: Package, said: str, path: str) -> Member | None:
    """The one that a path means of which the first part is often not known ("{}/version.py")."""
    parts = said.replace("\\", "/").rpartition("{}")[2].split("/")
    wanted = "/".join(part for part in parts if part not in ("", ".", ".."))
    if not wanted:
        return None
    folder = path.rpartition("/")[0]
    for each in (f"{folder}/{wanted}" if folder else wanted, wanted):
        member = package.member(each)
        if member is not None:
            return member
    ending = [each for each in package.members if each.path.endswith(f"/{wanted}")]
    return ending[0] if len(ending) == 1 else None
