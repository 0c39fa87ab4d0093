"""The clients that judge the index, each in an environment of its own, made once and kept in the data folder.

Where one cannot be had, what it would judge is skipped, with the reason. On CI it is a failure: judges must not
vanish unseen. `PETRIDISH_REQUIRE_CLIENTS` says which must be there: `python` (so it is too where `CI` is set) or `all`.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from tests.plugin import DATA
from tests.settings_read import ROOT

PINS = Path(__file__).with_name("clients.txt")
OLD_PIP = "pip==23.2.1"  # the oldest that metadata files (PEP 714) are asked of by the name they have now
# What each environment holds; versions of all but the old pip are in clients.txt.
ENVIRONMENTS = {
    "pip-23.2": OLD_PIP,
    "pip": "pip",
    "uv": "uv",
    "poetry": "poetry",
    "pdm": "pdm",
    "pipenv": "pipenv",
    "bandersnatch": "bandersnatch",
    "devpi": "devpi-server",
    "simple-repository": "simple-repository-server",
    "pypi-simple": "pypi-simple",
    "pip-audit": "pip-audit",
}
REQUIRED = "PETRIDISH_REQUIRE_CLIENTS"
_MAKING = 300  # seconds until a machine counts as one without a network

# As the Makefile finds it.
UV = shutil.which("uv", path=f"{ROOT / '.uv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")


def environment(name: str) -> Path:
    """Its folder; where it cannot be made, there is no test."""
    made = _environment(name)
    if isinstance(made, str):
        do_without(name, made, required=bool(os.environ.get("CI") or os.environ.get(REQUIRED)))
    return made


def do_without(name: str, why: str, *, required: bool) -> NoReturn:
    said = f"{name} cannot be installed here: {why}"
    if required:
        pytest.fail(said)
    pytest.skip(said)


@cache
def _environment(name: str) -> Path | str:
    folder = DATA / "clients" / f"{name}-{_digest(name)}"
    if UV is None:
        return "there is no uv"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other workers wait, and find it made
        if (folder / "whole").exists():
            return folder
        try:
            _make(UV, folder, ENVIRONMENTS[name])
        except subprocess.CalledProcessError as error:
            return str(error.stderr).strip().splitlines()[-1]
        except subprocess.TimeoutExpired:
            return "no answer"
        (folder / "whole").touch()
    return folder


def _digest(name: str) -> str:
    """Of all that makes an environment another one."""
    said = f"{ENVIRONMENTS[name]}\n{PINS.read_text()}\n{sys.base_prefix}\n{sys.version}"
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _make(uv: str, folder: Path, requirement: str) -> None:
    """From the index that this machine is set to."""
    python = str(folder / "bin" / "python")
    pinned = [] if "==" in requirement else ["--constraints", str(PINS)]
    for command in (
        ["venv", "--clear", "--python", sys.executable, str(folder)],
        ["pip", "install", "--python", python, *pinned, requirement],
    ):
        subprocess.run(
            [uv, "--quiet", "--no-progress", *command],
            check=True,
            capture_output=True,
            text=True,
            timeout=_MAKING,
            cwd=tempfile.gettempdir(),  # uv would take the pins of the project that it stands in
        )
