"""Asks a child process for the code of a held file. What it cannot tell, it says in a sentence."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from sandboxes.screening.comparing.rows import Row
from sandboxes.screening.package import Facts

SECONDS: Final = 15.0  # of waiting; the child's own limit of processor time is below that
MOST_MEMBERS: Final = 8
_ROOT = Path(__file__).resolve().parents[3]


class Source(msgspec.Struct, frozen=True):
    """An archive in the index's storage, and what is known of it."""

    path: str
    facts: Facts


class Question(msgspec.Struct, frozen=True):
    """`lines`: by path inside the archive, the lines in which something was found (0: the whole)."""

    file: Source
    former: Source | None
    lines: dict[str, list[int]]


class Code(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file inside the archive. `note`: why there are no rows, or nothing beside them."""

    path: str
    rows: tuple[Row, ...] = ()
    note: str = ""
    compared: bool = False


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`error`: why nothing of it can be shown."""

    codes: tuple[Code, ...] = ()
    error: str = ""
    left_out: int = 0  # files in which something was found, beyond those that are shown


def compare(file: Source, former: Source | None, lines: Mapping[str, list[int]]) -> Answer:
    question = Question(file, former, dict(list(lines.items())[:MOST_MEMBERS]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sandboxes.screening.comparing.child"],
            input=msgspec.json.encode(question),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            cwd=_ROOT,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        return Answer(error="Reading it took too long.")
    if done.returncode:
        return Answer(error="It cannot be read within the limits of this page.")
    answer = msgspec.json.decode(done.stdout, type=Answer)
    return msgspec.structs.replace(answer, left_out=max(0, len(lines) - MOST_MEMBERS))


def _environment() -> dict[str, str]:
    """No secret of ours is where a stranger's archive is read."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}
