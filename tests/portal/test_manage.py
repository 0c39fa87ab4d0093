"""`manage.py` as a process: what is wrong outside is one line, not a traceback and not a pool's log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portal.env import ROOT

NO_DATABASE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}


def _manage(data_dir: Path, given: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *words]
    environ = {**os.environ, "DATA_DIR": str(data_dir), **given}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [("verify_ledger",), ("check_cluster",), ("person", "alice", "--disable"), ("migrate",)], ids=str
)
def test_a_database_that_does_not_answer(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = _manage(tmp_path, NO_DATABASE, *words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Petridish: the database does not answer (connection failed")


def test_settings_that_are_wrong(tmp_path: Path) -> None:
    done = _manage(tmp_path, {"PORT": "http"}, "verify_ledger")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Petridish: PORT is 'http'")
