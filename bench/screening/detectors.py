"""What each detector costs: CPU time over a folder of wheels, each alone but for what detectors share.

.venv/bin/python -m bench.screening.detectors FOLDER
"""

import statistics
import sys
from argparse import ArgumentParser
from pathlib import Path
from time import process_time

from bench.world import load, say
from sandboxes.screening.archives import open_package
from sandboxes.screening.detectors import ALL, Detector
from sandboxes.screening.package import Facts


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    wheels = sorted(parser.parse_args().folder.rglob("*.whl"))
    if not wheels:
        raise SystemExit("there is no wheel in that folder")
    say(f"{load()}; {len(wheels)} wheels")
    say("| detector | median | 95th percentile |\n| --- | --- | --- |")
    for name, times in measured(wheels).items():
        worst = sorted(times)[int(len(times) * 0.95)]
        say(f"| {name} | {statistics.median(times) * 1000:.1f} ms | {worst * 1000:.1f} ms |")
    return 0


def measured(wheels: list[Path]) -> dict[str, list[float]]:
    """Seconds by detector, in the order in which they look: who comes first pays for what others read, too."""
    found: dict[str, list[float]] = {}
    for wheel in wheels:
        project, version = wheel.name.split("-")[:2]
        package = open_package(wheel, Facts(filename=wheel.name, project=project.lower(), version=version))
        for detector in ALL:
            began = process_time()
            list(detector.look(package, None))
            found.setdefault(name_of(detector), []).append(process_time() - began)
    return found


def name_of(detector: Detector) -> str:
    """The module's own."""
    return str(getattr(detector, "__name__", detector)).rpartition(".")[2]


if __name__ == "__main__":
    sys.exit(main())
