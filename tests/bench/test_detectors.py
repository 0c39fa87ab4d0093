"""The benchmark of detectors runs, and tells of each."""

from pathlib import Path

from bench.screening.detectors import measured, name_of
from sandboxes.screening.detectors import ALL
from tests.sandboxes.index.wheels import make_wheel


def test_each_detector_is_measured_on_each_wheel(tmp_path: Path) -> None:
    wheels = []
    for version in ("1.0", "2.0"):
        wheel = make_wheel("demo", version)
        wheels.append(tmp_path / wheel.filename)
        wheels[-1].write_bytes(wheel.data)
    found = measured(wheels)
    assert set(found) == {name_of(detector) for detector in ALL} >= {"import_time", "metadata"}
    assert {len(times) for times in found.values()} == {2}
