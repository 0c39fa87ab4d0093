"""What the index process reads from its environment, checked once at its start."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from sandboxes.errors import InvalidInputError
from sandboxes.index.pip_settings import configured_index

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?")
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """An upstream index: its URL with a slash at the end and no credentials, and those as a header."""

    url: str
    authorization: str = field(default="", repr=False)
    file_origins: tuple[str, ...] = ()  # where its files may be besides, though the addresses are not public


@dataclass(frozen=True)
class Config:
    database_url: str = field(repr=False)
    bind: str
    port: int
    folder: Path  # for the index's files
    upstream: Source


def read(environ: Mapping[str, str] = os.environ, pip_index: Callable[[], str] = configured_index) -> Config:
    """Raises `InvalidInputError` that names the variable and says what to do. `pip_index`: the upstream by default."""
    data_dir = Path(environ.get("DATA_DIR") or _ROOT / ".data").expanduser().resolve()
    return Config(
        database_url=database_url(environ.get("DATABASE_URL", "")),
        bind=environ.get("INDEX_BIND") or "127.0.0.1",
        port=_port(environ.get("INDEX_PORT") or "8081"),
        folder=data_dir / "index",
        upstream=replace(
            source("INDEX_UPSTREAM", environ.get("INDEX_UPSTREAM") or pip_index()),
            file_origins=_file_origins(environ.get("INDEX_FILE_ORIGINS", "")),
        ),
    )


def database_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidInputError(
            "DATABASE_URL is not set or of another kind; set postgresql://USER:PASSWORD@HOST/NAME."
        )
    return url


def _file_origins(text: str) -> tuple[str, ...]:
    """Comma-separated. A mirror inside the company may keep its files on another host than its pages."""
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInputError(
                "INDEX_FILE_ORIGINS names something that is no origin; set it to https://HOST[:PORT], …"
            )
    return origins


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise InvalidInputError(f"INDEX_PORT is {text!r}; set it to a port number from 1 to 65535.")
    return int(text)


def source(name: str, url: str) -> Source:
    """An index URL as a `Source`; `name` says in the error where it came from. The URL itself may hold a secret."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInputError(
            f"{name} (or pip's own index-url) is no http(s) URL; set it to https://HOST/simple/."
        )
    host = parts.netloc.rpartition("@")[2]
    plain = parts._replace(netloc=host, path=f"{parts.path.rstrip('/')}/", query="", fragment="").geturl()
    if parts.username is None:
        return Source(plain)
    credentials = unquote(parts.username), unquote(parts.password or "")
    return Source(plain, aiohttp.encode_basic_auth(*credentials))
