"""What detectors find in the archives inside a file, and what is told of those that cannot be looked into.

Nothing in them runs by itself: somebody has to unpack or install them, or to name them to Python. So what starts with
Python or with an installation counts two threats lower than in the file itself, and what would be low then is left
out. What lies among tests counts as test files do: their code is not followed, and nothing in them is more than low.
Detectors that compare a file with its project, its names or its former release have nothing to say of them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from sandboxes.screening.archives import ArchivePackage, Inner, LimitError, LockedError, Trouble
from sandboxes.screening.archives.sniffing import Form
from sandboxes.screening.detectors import (
    Detector,
    attestations,
    differences,
    import_time,
    install_code,
    look_alikes,
    metadata,
    npm_code,
    npm_scripts,
    start_hooks,
)
from sandboxes.screening.detectors.reading_code import in_tests
from sandboxes.screening.findings import Ability, Found, Threat

_OF_FILES: Final = (differences, look_alikes, metadata, attestations)
_OF_ACTS: Final = (start_hooks, install_code, import_time, npm_code, npm_scripts)
_LATER: Final = ("start-hook.", "install-code.")
_TWO_LOWER: Final = {Threat.CRITICAL: Threat.MEDIUM, Threat.HIGH: Threat.LOW}

Run = Callable[[Detector, Inner], Iterator[Found]]


def look_inside(
    package: ArchivePackage, detectors: Sequence[Detector], run: Run, hold: Callable[[str], None]
) -> Iterator[Found]:
    """`run` is for one detector's findings, `hold` for why the file is held. Raises `ArchiveError`."""
    for each in package.inside():
        if isinstance(each, Trouble):
            if isinstance(each.error, LimitError):
                hold(each.reason)
            yield from _told(each)
            continue
        among_tests = in_tests(each.path)
        for detector in detectors:
            if detector not in _OF_FILES and not (among_tests and detector in _OF_ACTS):
                yield from _placed(run(detector, each), each, among_tests=among_tests)


def _placed(findings: Iterator[Found], inner: Inner, *, among_tests: bool) -> Iterator[Found]:
    for found in findings:
        threat = Threat.LOW if among_tests else found.threat
        if not among_tests and (found.installs or found.rule.startswith(_LATER)):
            lower = _TWO_LOWER.get(found.threat)
            if lower is not Threat.MEDIUM:
                continue
            threat = lower
        yield replace(found, path=inner.path_of(found.path), threat=threat)


def _told(trouble: Trouble) -> Iterator[Found]:
    """What Python could import from although we cannot read it is worse than a damaged file of data."""
    kind = trouble.seen.form
    if isinstance(trouble.error, LimitError):
        rule, threat = "too-much", Threat.CRITICAL
    elif isinstance(trouble.error, LockedError):
        rule, threat = "locked", Threat.HIGH
    elif trouble.error is not None:
        rule, threat = "unreadable", Threat.HIGH if kind is Form.ZIP else Threat.MEDIUM
    else:
        rule, threat = "unread", Threat.LOW if trouble.seen.name == "Zstandard" else Threat.MEDIUM
    if rule != "too-much" and in_tests(trouble.path):
        threat = Threat.LOW
    why = trouble.reason[0].upper() + trouble.reason[1:] + "."
    yield Found(f"archive.inside-{rule}", Ability.NATIVE, threat, why, trouble.path)
