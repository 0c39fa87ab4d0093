"""What the egress proxy reads from its environment, checked once at its start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandboxes.errors import InvalidInputError
from sandboxes.index.config import database_url
from sandboxes.lifecycle.ways import parse_inside


@dataclass(frozen=True)
class Config:
    database_url: str = field(repr=False)
    bind: str
    port: int
    public_url: str  # the portal's: where to ask for a way out
    inside: Mapping[str, tuple[str, ...]]  # hosts an admin allows besides public ones, and their addresses


def read(environ: Mapping[str, str] = os.environ) -> Config:
    """Raises `InvalidInputError` that names the variable and says what to do."""
    text = environ.get("EGRESS_PROXY_PORT") or "8082"
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise InvalidInputError(f"EGRESS_PROXY_PORT is {text!r}; set it to a port number from 1 to 65535.")
    portal_port = environ.get("PORT") or "8000"
    return Config(
        database_url=database_url(environ.get("DATABASE_URL", "")),
        bind=environ.get("INDEX_BIND") or "127.0.0.1",
        port=int(text),
        public_url=(environ.get("PUBLIC_URL") or f"http://127.0.0.1:{portal_port}").rstrip("/"),
        inside=parse_inside(environ.get("EGRESS_INSIDE", "")),
    )
