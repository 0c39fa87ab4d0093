"""GuardDog over the same files: as its documentation says, each file by its own command.

It has no page for a file on disk, so only its rules for code count, and none for names, ages and maintainers. Its own
score of 0 to 10 says what it thinks: "suspicious" is 5 and more, which stands beside our warn, and "high_risk" 7 and
more, which stands beside our hold: what one would have looked at, and what one would have stopped. A file for which it
needs longer than `PATIENCE` got no answer, and is counted apart. It has no network, so that a scan is over the same
lists each time. Answers are kept, by the file's bytes, so that a run that was stopped goes on.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.world import ROOT
from sandboxes.screening.findings import Level
from tests.index.clients import UV

_PINS = Path(__file__).with_name("guarddog.txt")
_MAKING = 600  # seconds until a machine counts as one without a network
PATIENCE = 300  # seconds for one file
_ANSWERS = "answers.json"  # in its folder, by the sha256 of the file
# Nobody listens there: what it would fetch fails at once, and it goes on with what its wheel brings.
_NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
_LEVELS = {
    "high_risk": Level.HOLD,
    "suspicious": Level.WARN,
    "low": Level.NOTE,
    "no_risks_detected": Level.CLEAN,
}


class LackingError(Exception):
    """It cannot be had here."""


class Seen(msgspec.Struct, frozen=True):
    """`level` None: no answer in time."""

    level: Level | None
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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = folder / _ANSWERS
    answers = msgspec.json.decode(kept.read_bytes(), type=dict[str, Seen]) if kept.exists() else {}
    if digest not in answers:
        answers[digest] = _asked(folder, path, ecosystem)
        fresh = kept.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(answers))
        fresh.replace(kept)
    return answers[digest]


def _asked(folder: Path, path: Path, ecosystem: str) -> Seen:
    command = [str(folder / "bin" / "python"), str(folder / "bin" / "guarddog"), ecosystem, "scan"]
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, str(path), "--output-format", "json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=tempfile.gettempdir(),
            env=os.environ | _NO_NETWORK,
        )
    except subprocess.TimeoutExpired:
        return Seen(None, time.perf_counter() - begin)
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
