"""GuardDog over the same files: as its documentation says, each file by its own command.

It has no page for a file on disk, so only its rules for code count, as only ours for code see the bytes. Its own
score says what it thinks: "suspicious" stands beside our warn, and "high_risk" beside our hold.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.world import ROOT
from sandboxes.screening.findings import Level
from tests.index.clients import UV

_PINS = Path(__file__).with_name("guarddog.txt")
_MAKING = 600  # seconds until a machine counts as one without a network
_PATIENCE = 300  # seconds for one file
_LEVELS = {
    "high_risk": Level.HOLD,
    "suspicious": Level.WARN,
    "low": Level.NOTE,
    "no_risks_detected": Level.CLEAN,
}


class LackingError(Exception):
    """It cannot be had here."""


@dataclass(frozen=True)
class Seen:
    level: Level
    seconds: float
    rules: tuple[str, ...] = ()


def environment() -> Path:
    """Its folder, made once and kept. Raises `LackingError`."""
    said = f"{_PINS.read_text()}\n{sys.base_prefix}\n{sys.version}"
    folder = ROOT / ".data" / "bench" / f"guarddog-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    if (folder / "whole").exists():
        return folder
    if UV is None:
        raise LackingError("there is no uv")
    _made([UV, "venv", "--clear", "--python", sys.executable, str(folder)])
    _made([UV, "pip", "install", "--python", str(folder / "bin" / "python"), "-r", str(_PINS)])
    (folder / "whole").touch()
    return folder


def scan(folder: Path, path: Path, ecosystem: str) -> Seen:
    """Raises `LackingError` when it says nothing that can be read."""
    command = [str(folder / "bin" / "python"), str(folder / "bin" / "guarddog"), ecosystem, "scan"]
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, str(path), "--output-format", "json"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            cwd=tempfile.gettempdir(),
        )
    except subprocess.TimeoutExpired:
        raise LackingError(f"{path.name}: no answer") from None
    took = time.perf_counter() - begin
    try:
        said = json.loads(done.stdout)
        level = _LEVELS[said["risk_score"]["label"]]
        rules = tuple(sorted(name for name, found in said["results"].items() if found))
    except (ValueError, KeyError, TypeError):
        raise LackingError(
            f"{path.name}: {(done.stderr.strip().splitlines() or ['nothing said'])[-1]}"
        ) from None
    return Seen(level, took, rules)


def _made(command: Sequence[str]) -> None:
    """As the peers of the index are made (`bench/index/peers.py`)."""
    try:
        subprocess.run(
            [command[0], "--quiet", "--no-progress", *command[1:]],
            check=True,
            capture_output=True,
            text=True,
            timeout=_MAKING,
            cwd=tempfile.gettempdir(),  # uv would take the pins of the project that it stands in
        )
    except subprocess.CalledProcessError as error:
        raise LackingError(str(error.stderr).strip().splitlines()[-1]) from None
    except subprocess.TimeoutExpired:
        raise LackingError("no answer") from None
