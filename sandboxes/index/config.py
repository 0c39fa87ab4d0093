"""What the index process reads from its environment, checked once at its start."""

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from sandboxes.errors import InvalidInputError
from sandboxes.index.npm.settings import configured_registry
from sandboxes.index.pip_settings import configured_index
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.patterns import Pattern, parse

DEFAULT = "default"  # the name of the upstream that INDEX_UPSTREAM means
NO_UPSTREAM = "none"  # INDEX_UPSTREAM's value for none at all
NPM = "npm"  # the name of npm's upstream
UPSTREAMS = "INDEX_UPSTREAMS"
NPM_UPSTREAMS = "INDEX_NPM_UPSTREAMS"

_ORIGIN = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~+/-]*)?"
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9._/-]*)?")
_SIZE = re.compile(r"([0-9]{1,15})\s*((?:[KMGT](?:iB|B)?|B)?)", re.IGNORECASE)
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """An upstream index: its URL with a slash at the end and no credentials, and those as a header."""

    url: str
    authorization: str = field(default="", repr=False)
    # Where its files may be besides, though the addresses are not public; on its own host with credentials.
    file_origins: tuple[str, ...] = ()
    name: str = DEFAULT
    names: tuple[Pattern, ...] = ()  # it alone has these projects, and no others; empty: any
    file_hosts: tuple[
        str, ...
    ] = ()  # patterns of the only other hosts that it may lead to; empty: any public one
    authorities: Path | None = None  # certificate authorities trusted besides the system's


@dataclass(frozen=True)
class Config:
    database_url: str = field(repr=False)
    bind: str
    port: int
    folder: Path  # for the index's files
    sources: tuple[Source, ...]  # in the order in which they are asked; empty: the index is offline
    url: str = ""  # the index's own, as sandboxes know it, without a slash at the end
    public_url: str = "http://127.0.0.1:8000"  # the portal's, which refusals lead to
    storage: str = ""  # where files stay: a bucket's URL; empty: in `folder`
    storage_redirect: bool = False  # sandboxes get files from the bucket itself
    storage_max: int | None = None  # bytes of `folder`'s files
    processes: int = 2  # that serve, each on a core of its own
    npm: Source | None = None  # npm's registry; None: no public one
    npm_named: tuple[Source, ...] = ()  # other registries, as `sources` has other indexes

    @property
    def npm_sources(self) -> tuple[Source, ...]:
        """In the order in which they are asked; empty: nothing of npm but what is kept."""
        return (*self.npm_named, *((self.npm,) if self.npm else ()))


def read(
    environ: Mapping[str, str] = os.environ,
    pip_index: Callable[[], str] = configured_index,
    npm_registry: Callable[[], str] = configured_registry,
) -> Config:
    """Raises `InvalidInputError` that names the variable and says what to do.

    `pip_index`, `npm_registry`: the upstreams by default.
    """
    data_dir = Path(environ.get("DATA_DIR") or _ROOT / ".data").expanduser().resolve()
    return Config(
        database_url=database_url(environ.get("DATABASE_URL", "")),
        bind=environ.get("INDEX_BIND") or "127.0.0.1",
        port=_port(environ.get("INDEX_PORT") or "8081"),
        folder=data_dir / "index",
        sources=sources(environ, pip_index),
        url=environ.get("INDEX_URL", "").rstrip("/"),
        public_url=(environ.get("PUBLIC_URL") or f"http://127.0.0.1:{environ.get('PORT') or 8000}").rstrip(
            "/"
        ),
        processes=_processes(environ.get("INDEX_PROCESSES") or "2"),
        npm=npm(environ, npm_registry),
        npm_named=named(environ, NPM_UPSTREAMS),
        **storage(environ),
    )


def storage(environ: Mapping[str, str]) -> dict[str, Any]:
    """Where verified files stay, as `Config` names it."""
    url, most = environ.get("INDEX_STORAGE", ""), environ.get("INDEX_STORAGE_MAX", "")
    if url in ("", "folder"):
        return {"storage_max": _bytes("INDEX_STORAGE_MAX", most) if most else None}
    if not _BUCKET.fullmatch(url):
        raise InvalidInputError(
            "INDEX_STORAGE is neither folder nor a bucket; set it to s3://BUCKET[/PREFIX]."
        )
    if most:
        raise InvalidInputError(
            "INDEX_STORAGE_MAX is for folders; unset it and give the bucket a lifecycle rule instead."
        )
    redirect = environ.get("INDEX_STORAGE_REDIRECT", "")
    if redirect not in ("", "0", "1"):
        raise InvalidInputError("INDEX_STORAGE_REDIRECT is neither 0 nor 1; set it to one of them.")
    return {"storage": url.rstrip("/"), "storage_redirect": redirect == "1"}


def _bytes(name: str, text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[match[2].upper()[:1]] if match else 0
    if size <= 0:
        raise InvalidInputError(f"{name} is {text!r}; set it to a number with a unit, like 200G.")
    return size


def database_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidInputError(
            "DATABASE_URL is not set or of another kind; set postgresql://USER:PASSWORD@HOST/NAME."
        )
    return url


def sources(
    environ: Mapping[str, str], pip_index: Callable[[], str] = configured_index
) -> tuple[Source, ...]:
    """The named ones in the order they are written, then the default one."""
    default = environ.get("INDEX_UPSTREAM", "")
    if default.strip().lower() == NO_UPSTREAM:
        return named(environ)
    return (*named(environ), _complete(source("INDEX_UPSTREAM", default or pip_index()), environ))


def named(environ: Mapping[str, str], variable: str = UPSTREAMS) -> tuple[Source, ...]:
    """The upstreams that `variable` names, in the order they are written."""
    found = [_named(part, environ, variable) for part in environ.get(variable, "").split(";") if part.strip()]
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInputError(f"{variable} names {twice} more than once; give each upstream its own name.")
    return tuple(found)


def npm(environ: Mapping[str, str], npm_registry: Callable[[], str] = configured_registry) -> Source | None:
    """npm's upstream. An index that is to have no upstream has none for npm unless it is named."""
    url = environ.get("INDEX_NPM_UPSTREAM", "")
    if not url:
        offline = environ.get("INDEX_UPSTREAM", "").strip().lower() == NO_UPSTREAM
        url = "" if offline else npm_registry()
    if not url or url.strip().lower() == NO_UPSTREAM:
        return None
    return _complete(source("INDEX_NPM_UPSTREAM", url), environ, NPM, prefix="INDEX_NPM_UPSTREAM")


def _named(text: str, environ: Mapping[str, str], variable: str) -> Source:
    """``NAME=URL [names=PATTERN,PATTERN]``."""
    first, *options = text.split()
    name, equals, url = first.partition("=")
    if not (equals and _NAME.fullmatch(name)) or name in (DEFAULT, NPM):
        raise InvalidInputError(
            f"{variable} has a part without a name; write NAME=https://HOST/simple/ [names=acme-*], "
            f"with semicolons between and no upstream named {DEFAULT} or {NPM}."
        )
    return _complete(source(variable, url), environ, name, _names(name, options, variable), variable[:-1])


def _names(name: str, options: list[str], variable: str) -> tuple[Pattern, ...]:
    patterns: list[Pattern] = []
    for option in options:
        key, _, value = option.partition("=")
        parts = [part for part in value.split(",") if part]
        if key != "names" or not parts:
            raise InvalidInputError(
                f"{variable} says something of {name} that is not names=PATTERN,PATTERN (no spaces in it)."
            )
        patterns += [_pattern(part, variable) for part in parts]
    return tuple(patterns)


def _pattern(text: str, variable: str) -> Pattern:
    pattern = parse(text, Ecosystem.NPM if variable == NPM_UPSTREAMS else Ecosystem.PYPI)
    if pattern.versions:
        raise InvalidInputError(f"{variable} limits {text} to versions; an upstream has whole projects.")
    return pattern


def _complete(
    made: Source,
    environ: Mapping[str, str],
    name: str = DEFAULT,
    names: tuple[Pattern, ...] = (),
    prefix: str = "INDEX_UPSTREAM",
) -> Source:
    """With what other variables say of it: credentials, file origins, authorities."""
    suffix = "" if name in (DEFAULT, NPM) else f"_{name.upper().replace('-', '_')}"
    variable = f"{prefix}{suffix}_AUTH"
    return Source(
        url=made.url,
        authorization=_authorization(variable, environ.get(variable, "")) or made.authorization,
        file_origins=_file_origins(environ.get("INDEX_FILE_ORIGINS", "")),
        file_hosts=_file_hosts(environ.get("INDEX_FILE_HOSTS", "")),
        name=name,
        names=names,
        authorities=_authorities(environ.get("INDEX_UPSTREAM_CA", "")),
    )


def _authorization(variable: str, text: str) -> str:
    """``USER:PASSWORD`` or ``Bearer TOKEN``; neither is ever repeated in a message."""
    if not text:
        return ""
    if not text.isascii() or not text.isprintable():
        raise InvalidInputError(
            f"{variable} has characters that no header takes; set USER:PASSWORD or Bearer TOKEN."
        )
    if text.startswith("Bearer "):
        return text
    user, colon, password = text.partition(":")
    if not (user and colon):
        raise InvalidInputError(f"{variable} is no credential; set it to USER:PASSWORD or Bearer TOKEN.")
    return aiohttp.encode_basic_auth(user, password)


def _authorities(text: str) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser()
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl's errors are such too
        raise InvalidInputError(
            "INDEX_UPSTREAM_CA names no file of certificates; set it to one in PEM form."
        ) from error
    return path


def _file_origins(text: str) -> tuple[str, ...]:
    """Comma-separated. A mirror inside the company may keep its files on another host than its pages."""
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInputError(
                "INDEX_FILE_ORIGINS names something that is no origin; set it to https://HOST[:PORT][/PATH/]."
            )
    return origins


def _file_hosts(text: str) -> tuple[str, ...]:
    """Comma-separated: ``HOST``, or ``*.HOST`` for all below it."""
    hosts = tuple(host.strip().lower() for host in text.split(",") if host.strip())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise InvalidInputError(
                "INDEX_FILE_HOSTS names something that is no host; write files.example.com or *.example.com."
            )
    return hosts


def _processes(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 64):
        raise InvalidInputError(f"INDEX_PROCESSES is {text!r}; set it to a number from 1 to 64.")
    return int(text)


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
            f"{name} (or what pip and npm are set to) is no http(s) URL; set it to https://HOST/simple/."
        )
    host = parts.netloc.rpartition("@")[2]
    plain = parts._replace(netloc=host, path=f"{parts.path.rstrip('/')}/", query="", fragment="").geturl()
    if parts.username is None:
        return Source(plain)
    credentials = unquote(parts.username), unquote(parts.password or "")
    return Source(plain, aiohttp.encode_basic_auth(*credentials))
