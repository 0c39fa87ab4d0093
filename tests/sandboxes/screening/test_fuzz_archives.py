"""The fuzzing harnesses run, and their seeds pass. Skipped without `atheris`; the seeds are not."""

import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sandboxes.screening import fuzz_archives, fuzz_detectors

ROOT = Path(__file__).resolve().parents[3]


def test_the_seeds_pass(tmp_path: Path) -> None:
    for data in [b"", b"\0", *fuzz_archives.seeds()]:
        fuzz_archives.one(tmp_path, data)


def test_the_seeds_of_the_detectors_pass(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strange code
        for data in [b"", b"\0", b"\5a\n", *fuzz_detectors.seeds()]:
            fuzz_detectors.one(tmp_path, data)


@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris")
@pytest.mark.parametrize(("harness", "runs"), [("fuzz_archives", 2000), ("fuzz_detectors", 200)])
def test_some_runs(harness: str, runs: int) -> None:
    command = [sys.executable, "-m", f"tests.sandboxes.screening.{harness}", f"-runs={runs}", "-seed=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{runs} runs" in done.stderr
