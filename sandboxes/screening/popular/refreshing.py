"""A newer list of popular projects, from a file or an https URL."""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sandboxes.errors import InvalidInputError
from sandboxes.screening import popular
from sandboxes.screening.download import download
from sandboxes.screening.words import Ecosystem, normalised

MOST = 50_000  # names that are kept: of the rest nobody makes a copy to deceive
_LARGEST: Final = 64 * 1024 * 1024  # bytes of a list
_FEWEST: Final = 100  # names: fewer are a list of something else, and would leave most projects unguarded
_NAMES: Final = {
    Ecosystem.PYPI: re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,212}[A-Za-z0-9])?"),
    Ecosystem.NPM: re.compile(r"(?:@[A-Za-z0-9._~-]{1,100}/)?[A-Za-z0-9._~-]{1,213}"),
}
_FIELDS: Final = ("project", "name", "package")  # whichever an entry of a list in JSON has


def refresh(source: str, ecosystem: Ecosystem) -> int:
    """Takes in a list, most used first: lines of text, or JSON; returns how many names it has now.

    JSON is a list of names or of objects with a name, or an object with such a list in it ("rows").
    Raises `InvalidInputError`, `TemporaryError`; then nothing has changed.
    """
    wanted = _NAMES[ecosystem]
    names = [name for name in _listed(_content(source)) if wanted.fullmatch(name)]
    kept = list(dict.fromkeys(normalised(ecosystem, name) for name in names))[:MOST]
    if len(kept) < _FEWEST:
        raise InvalidInputError(
            f"That is no list of popular projects: it has {len(kept)} names, and {_FEWEST} are the least."
        )
    _write(popular.newer_list(ecosystem), "\n".join(kept) + "\n")
    return len(kept)


def _content(source: str) -> str:
    if "://" in source:
        with download(source) as file:
            content = file.read(_LARGEST + 1)
    else:
        try:
            with Path(source).open("rb") as opened:
                content = opened.read(_LARGEST + 1)
        except OSError as error:
            raise InvalidInputError(f"The list cannot be read: {error.strerror or error}.") from error
    if len(content) > _LARGEST:
        raise InvalidInputError(f"The list is larger than {_LARGEST >> 20} MiB.")
    return content.decode("utf-8", errors="replace")


def _listed(content: str) -> Iterator[str]:
    if content.lstrip()[:1] not in ("[", "{"):
        yield from (line.strip() for line in content.splitlines() if not line.startswith("#"))
        return
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("The list is no valid JSON.") from error
    for entry in _entries(document):
        name = (
            next((entry[key] for key in _FIELDS if key in entry), None) if isinstance(entry, dict) else entry
        )
        if isinstance(name, str):
            yield name


def _entries(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    lists = [value for value in document.values() if isinstance(value, list)]
    return max(lists, key=len, default=[])


def _write(target: Path, content: str) -> None:
    """Whole or not at all: scanners read it at any moment."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=target.parent, prefix=".", encoding="utf-8", delete=False
    ) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)  # scanners may be somebody else
    Path(file.name).replace(target)
