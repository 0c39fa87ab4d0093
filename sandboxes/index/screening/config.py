"""What the screening process reads from its environment; the rest it shares with the index."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandboxes.errors import InvalidInputError
from sandboxes.index import config

_ROOT = Path(__file__).resolve().parents[3]
_MOST = 64


@dataclass(frozen=True)
class Config:
    database_url: str = field(repr=False)
    folder: Path  # the index's
    storage: str  # a bucket's URL; "": the folder
    processes: int  # that scan, each a file


def read(environ: Mapping[str, str] = os.environ) -> Config:
    """Raises `InvalidInputError` that names the variable and says what to do."""
    data_dir = Path(environ.get("DATA_DIR") or _ROOT / ".data").expanduser().resolve()
    return Config(
        database_url=config.database_url(environ.get("DATABASE_URL", "")),
        folder=data_dir / "index",
        storage=config.storage(environ).get("storage", ""),
        processes=_processes(environ.get("SCREENING_PROCESSES") or "2"),
    )


def _processes(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MOST):
        raise InvalidInputError(f"SCREENING_PROCESSES is {text!r}; set it to a number from 1 to {_MOST}.")
    return int(text)
