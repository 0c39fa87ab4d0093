"""One file, every detector, one report. Whatever goes wrong holds the file; nothing is dropped in silence.

A detector that fails says nothing of what it did not come to see, so the report is `broken`, with what the
other detectors found beside it. Findings are counted by rule and threat before the gravest are chosen:
thousands of harmless ones must hide neither a grave one nor one of another rule.
"""

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from sandboxes.screening.archives import ArchiveError, ArchivePackage, Inner, open_package
from sandboxes.screening.archives.oddities import shown
from sandboxes.screening.detectors import Detector, differences, patterns
from sandboxes.screening.detectors.comparing import Comparison
from sandboxes.screening.findings import Ability, Found, Report, Threat
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner.former import open_former
from sandboxes.screening.scanner.inside import look_inside
from sandboxes.screening.scanner.version import VERSION

MOST: Final = 200  # findings
_ALIKE: Final = 20  # of one rule and threat
_EXCERPT: Final = 300  # characters
_WHY: Final = 500
_PATH: Final = 1024
_BROKEN: Final = 1000
_TIME_FOR_SOURCES: Final = 5.0  # seconds of the processor after which sources are not looked into
_GRAVITY: Final = {threat: number for number, threat in enumerate(Threat)}


def report(
    file: int, facts: Facts, former: int | None, detectors: Sequence[Detector], sources: int | None = None
) -> Report:
    """Of an open file, with the release before it and its own sources. Never raises, but for what ends a process."""
    begin = time.perf_counter()
    looking = _Looking()
    try:
        looking.look(file, facts, former, detectors, sources)
    except ArchiveError as error:
        looking.broken.append(error.reason)
    except Exception as error:  # noqa: BLE001  our own fault, and still this file's report
        looking.broken.append(f"it could not be read: {_said(error)}")
    return Report(
        findings=tuple(looking.findings),
        broken=_clean("; ".join(dict.fromkeys(looking.broken)), _BROKEN),
        seconds=round(time.perf_counter() - begin, 4),
        version=VERSION,
        rules=patterns.compiled().digest,
    )


class _Looking:
    def __init__(self) -> None:
        self.findings: list[Found] = []
        self.broken: list[str] = []

    def look(
        self,
        file: int,
        facts: Facts,
        former: int | None,
        detectors: Sequence[Detector],
        sources: int | None,
    ) -> None:
        begin = time.process_time()
        package = open_package(file, facts)
        try:
            earlier, unreadable = open_former(former, facts) if former is not None else (None, None)
            found = itertools.chain(
                self._all(package, earlier, detectors),
                self._inside(package, detectors),
                self._not_in(sources, package, begin) if sources is not None else (),
            )
            self.findings = heapq.nlargest(MOST, _few_alike(found), key=lambda each: _GRAVITY[each.threat])
            if unreadable:
                self.findings = [*self.findings[: MOST - 1], _unreadable(unreadable)]
            if package.broken:  # also if a detector thought nothing of it
                self.broken.append(package.broken)
        finally:
            package.close()

    def _all(
        self, package: ArchivePackage, former: ArchivePackage | None, detectors: Sequence[Detector]
    ) -> Iterator[Found]:
        unreadable = ""
        for detector in detectors:
            try:
                yield from (_trimmed(found) for found in detector.look(package, former))
            except ArchiveError as error:
                if former is None or not former.broken or package.broken:
                    self.broken.append(error.reason)
                    continue
                unreadable, former = former.broken, None
                yield from self._all(package, None, (detector,))
            except Exception as error:  # noqa: BLE001  recursion and memory too
                self.broken.append(f"the detector {_name(detector)} failed: {_said(error)}")
        if unreadable:
            yield _unreadable(unreadable)

    def _not_in(self, sources: int, package: ArchivePackage, begin: float) -> Iterator[Found]:
        """Beside what its own sources have. They change no level, so they may use up nobody's time."""
        if time.process_time() - begin > _TIME_FOR_SOURCES:
            yield _not_compared("reading the file itself took long")
            return
        built_from, unreadable = open_former(
            sources, replace(package.facts, former_version=package.facts.version)
        )
        if built_from is None:
            yield _not_compared(unreadable or "")
            return
        try:
            if Comparison(package, built_from).from_sources:
                yield from (_trimmed(found) for found in differences.look(package, built_from))
        except ArchiveError as error:
            if package.broken:
                self.broken.append(error.reason)
            yield _not_compared(error.reason)
        except Exception as error:  # noqa: BLE001
            self.broken.append(f"it could not be compared with its sources: {_said(error)}")
        finally:
            built_from.close()

    def _inside(self, package: ArchivePackage, detectors: Sequence[Detector]) -> Iterator[Found]:
        try:
            for found in look_inside(package, detectors, self._of_inner, self.broken.append):
                yield _trimmed(found)
        except ArchiveError as error:
            self.broken.append(error.reason)
        except Exception as error:  # noqa: BLE001
            self.broken.append(f"the archives in it could not be looked into: {_said(error)}")

    def _of_inner(self, detector: Detector, inner: Inner) -> Iterator[Found]:
        try:
            yield from detector.look(inner, None)
        except Exception as error:  # noqa: BLE001
            self.broken.append(
                f"the detector {_name(detector)} failed in {shown(inner.path)}: {_said(error)}"
            )


def _name(detector: Detector) -> str:
    return getattr(detector, "__name__", type(detector).__name__).rpartition(".")[2]


def _few_alike(found: Iterator[Found]) -> Iterator[Found]:
    seen: Counter[tuple[str, Threat]] = Counter()
    for each in found:
        seen[each.rule, each.threat] += 1
        if seen[each.rule, each.threat] <= _ALIKE:
            yield each


def _trimmed(found: Found) -> Found:
    return replace(
        found,
        why=_clean(found.why, _WHY),
        path=_clean(found.path, _PATH),
        excerpt=_clean(found.excerpt, _EXCERPT),
    )


def _clean(text: str, most: int) -> str:
    """What JSON and PostgreSQL can keep."""
    return text[:most].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _unreadable(reason: str) -> Found:
    return Found(
        rule="scanner.former-unreadable",
        ability=Ability.CONTENT,
        threat=Threat.LOW,
        why=f"The release before it cannot be read to its end ({_clean(reason, _EXCERPT)}), so it was not compared.",
    )


def _not_compared(reason: str) -> Found:
    return Found(
        rule="scanner.sources-unread",
        ability=Ability.CONTENT,
        threat=Threat.LOW,
        why=f"It was not compared with its own sources ({_clean(reason, _EXCERPT)}).",
    )


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}"[:_EXCERPT].strip()
