"""The projects that most people mean when they type a name: what look-alikes are measured against. Pure.

`pypi.txt` and `npm.txt` are shipped, most used first, one name a line. A newer list that
`manage.py refresh_popular` took in stands in DATA_DIR and is read instead.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from sandboxes.screening import environment
from sandboxes.screening.words import Ecosystem, normalised

_SHIPPED: Final = Path(__file__).parent


def names(ecosystem: str) -> tuple[str, ...]:
    """Normalised, most used first; read once per process. Empty for an ecosystem without a list."""
    try:
        known = Ecosystem(ecosystem)
    except ValueError:
        return ()
    return _read(_file(known), known) or _read(_SHIPPED / f"{known}.txt", known)


def digest() -> bytes:
    """Stands for the lists that this process goes by."""
    listed = hashlib.sha256()
    for ecosystem in Ecosystem:
        listed.update("\n".join(("", ecosystem, *names(ecosystem))).encode())
    return listed.digest()


def stamp() -> tuple[tuple[int, int, int], ...]:
    """Changes whenever a list is replaced, or the shipped one holds again."""
    found = []
    for ecosystem in Ecosystem:
        try:
            about = _file(ecosystem).stat()
        except OSError:
            continue
        found.append((about.st_ino, about.st_size, about.st_mtime_ns))
    return tuple(found)


def newer_list(ecosystem: Ecosystem) -> Path:
    """Where a list goes that replaces the shipped one."""
    return environment.data_dir() / "popular" / f"{ecosystem}.txt"


def _file(ecosystem: Ecosystem) -> Path:
    newer = newer_list(ecosystem)
    return newer if newer.is_file() else _SHIPPED / f"{ecosystem}.txt"


@lru_cache(maxsize=8)
def _read(path: Path, ecosystem: Ecosystem) -> tuple[str, ...]:
    """A list that cannot be read is none: names are then not compared, and all else is."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(dict.fromkeys(normalised(ecosystem, name) for name in lines))
