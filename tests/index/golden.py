"""What clients print, kept in small files to be read and compared: `golden/CLIENT.txt`, a section for each command.

`PETRIDISH_GOLDEN=write` writes what a run prints (with `-n 0`: each test writes its own section); then read the diff.
"""

import os
import re
from pathlib import Path
from tempfile import gettempdir

from tests.index.world import World

_FOLDER = Path(__file__).with_name("golden")
_WRITE = os.environ.get("PETRIDISH_GOLDEN") == "write"
_SECTION = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
# What differs from run to run or machine to machine, and lines that only tell how it is going.
_VARIES = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"\b20\d\d-\d\d-\d\d(?: \d\d:\d\d UTC)?"), "DATE"),
    (re.compile(r"\b\d+(?:\.\d+)?m?s\b"), "TIME"),
    (re.compile(r"\b\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(rf"(?:{re.escape(gettempdir())}|FOLDER)/\S*?(?:pip\w*|pdm)-[^\s)]*"), "TEMPORARY"),
    (re.compile(r"(?:/\S+)?/bin/python[\d.]*"), "PYTHON"),
    (re.compile(r"CPython [\d.]+"), "CPython"),
    (
        re.compile(r"^[⠀-⣿] .*\n|^INFO: Inside an active virtualenv.*\n|^Set env var PDM_.*\n", re.MULTILINE),
        "",
    ),
    (re.compile(r"^Traceback \(most recent call last\):\n(?:  .*\n|\s*\n)*", re.MULTILINE), "(traceback)\n"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
    (re.compile(r"\n{2,}"), "\n"),
)


def normalised(text: str, world: World, folder: Path) -> str:
    text = text.replace(world.origin.removeprefix("http://"), "INDEX").replace(str(folder), "FOLDER")
    for pattern, put in _VARIES:
        text = pattern.sub(put, text)
    return text.strip() + "\n"


def check(client: str, command: str, text: str) -> None:
    """`text` is normalised."""
    path = _FOLDER / f"{client}.txt"
    sections = dict(_SECTION.findall(path.read_text())) if path.exists() else {}
    if _WRITE:
        sections[command] = text
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"$ {each}\n{said}" for each, said in sorted(sections.items())))
    assert text == sections.get(command), f"{path.name}: {command}"
