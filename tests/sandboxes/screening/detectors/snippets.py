"""What a detector finds in a few lines: rules and lines, to be compared with a table."""

from collections.abc import Iterable, Mapping

from sandboxes.screening.detectors import Detector
from sandboxes.screening.findings import Found, Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.packages import package

_ORDER = [Threat.LOW, Threat.MEDIUM, Threat.HIGH, Threat.CRITICAL]


def found_in(
    detector: Detector, files: Mapping[str, bytes | str], kind: Kind = Kind.WHEEL, **facts: object
) -> list[Found]:
    return list(detector.look(package(files, kind, **facts), None))  # type: ignore[arg-type]


def told(findings: Iterable[Found], least: Threat = Threat.LOW) -> set[tuple[str, int, Threat]]:
    return {
        (each.rule, each.line, each.threat)
        for each in findings
        if _ORDER.index(each.threat) >= _ORDER.index(least)
    }
