"""The one request head of a connection: read strictly, within bounds of size and time; and answers to it."""

import asyncio
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from sandboxes.errors import PetridishError
from sandboxes.index.problems import reason_phrase

LARGEST: Final = 16 * 1024  # bytes
SECONDS: Final = 10.0
ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\]]+):([0-9]{1,5})")


class ProxyError(PetridishError):
    """A refusal as it is answered."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


class HangUpError(PetridishError):
    """The client went before it had asked for anything."""


@dataclass(frozen=True)
class Head:
    """`rest` are bytes that came behind the head already: of a CONNECT, the first of the tunnel."""

    method: str
    target: str
    authorization: str | None
    rest: bytes


@dataclass(frozen=True)
class Authority:
    """What a CONNECT asks for (RFC 9112, 3.2.3)."""

    host: str  # lower case, without a dot at the end; an IPv6 address in brackets
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Raises `ProxyError` for what is too slow, too large or no HTTP, `HangUpError` when nothing comes any more."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST)
    try:
        async with asyncio.timeout(SECONDS):
            while (event := connection.next_event()) is h11.NEED_DATA:
                data = await reader.read(4096)
                if not data:
                    raise HangUpError("The client hung up.")
                connection.receive_data(data)
    except TimeoutError as error:
        raise ProxyError(HTTPStatus.REQUEST_TIMEOUT, "slow", "The request's head took too long.") from error
    except h11.RemoteProtocolError as error:
        raise ProxyError(HTTPStatus(error.error_status_hint), "malformed", f"No HTTP: {error}.") from error
    if not isinstance(event, h11.Request):
        raise HangUpError("The client hung up.")
    return _head(event, connection)


def _head(request: h11.Request, connection: h11.Connection) -> Head:
    method = request.method.decode("ascii")
    logins = [value for name, value in request.headers if name == b"proxy-authorization"]
    if len(logins) > 1:
        raise ProxyError(HTTPStatus.BAD_REQUEST, "malformed", "More than one Proxy-Authorization.")
    if method == "CONNECT" and any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in request.headers
    ):
        raise ProxyError(HTTPStatus.BAD_REQUEST, "malformed", "A CONNECT carries no content.")
    return Head(
        method=method,
        target=request.target.decode("latin-1"),
        authorization=logins[0].decode("latin-1") if logins else None,
        rest=connection.trailing_data[0],
    )


def authority_of(target: str) -> Authority:
    """`host:port`, or `ProxyError`."""
    match = _AUTHORITY.fullmatch(target)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ProxyError(HTTPStatus.BAD_REQUEST, "malformed", "A CONNECT asks for HOST:PORT.")
    return Authority(match[1].lower().removesuffix("."), int(match[2]))


def answer(error: ProxyError, **more: str) -> bytes:
    """The refusal as people see it: in the reason phrase, and whole in a problem document (RFC 9457)."""
    document = {
        "title": error.status.phrase,
        "status": error.status.value,
        "detail": str(error),
        "code": error.code,
        **more,
    }
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", **error.headers}
    return plain(error.status, reason_phrase(str(error)), json.dumps(document).encode(), headers)


def plain(status: HTTPStatus, reason: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole answer; nothing comes after it on this connection."""
    fixed = {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [
        f"HTTP/1.1 {status.value} {reason}",
        *(f"{k}: {v}" for k, v in {**(headers or {}), **fixed}.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
