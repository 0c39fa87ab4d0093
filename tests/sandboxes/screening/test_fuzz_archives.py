"""The fuzzing harness runs, and its seeds pass. Skipped without `atheris`; the seeds are not."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sandboxes.screening import fuzz_archives

ROOT = Path(__file__).resolve().parents[3]


def test_the_seeds_pass(tmp_path: Path) -> None:
    for data in [b"", b"\0", *fuzz_archives.seeds()]:
        fuzz_archives.one(tmp_path, data)


@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris")
def test_two_thousand_runs() -> None:
    command = [sys.executable, "-m", "tests.sandboxes.screening.fuzz_archives", "-runs=2000", "-seed=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "2000 runs" in done.stderr
