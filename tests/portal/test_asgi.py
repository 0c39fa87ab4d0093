"""The web process itself: a body of any size does not get as far as Django, which would write it to disk."""

from collections.abc import Iterable
from typing import Any

import pytest

from portal.asgi import Bounded, application

MIB = 1024 * 1024


class Visitor:
    """Sends a body piece by piece, and keeps what comes back and how many pieces were taken."""

    def __init__(self, pieces: Iterable[bytes] = (), length: bytes | None = None) -> None:
        self._pieces = list(pieces)
        self._length = length
        self.taken = 0
        self.answers: list[Any] = []

    async def ask(self, app: Any, path: str = "/receipts/key.pem/nowhere") -> int:
        headers = [(b"host", b"localhost")]
        if self._length is not None:
            headers.append((b"content-length", self._length))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("192.0.2.1", 1),
            "server": ("localhost", 80),
        }
        await app(scope, self._receive, self._send)
        return int(self.answers[0]["status"])

    async def _receive(self) -> dict[str, Any]:
        if self.taken >= len(self._pieces):
            return {"type": "http.disconnect"}
        self.taken += 1
        more = self.taken < len(self._pieces)
        return {"type": "http.request", "body": self._pieces[self.taken - 1], "more_body": more}

    async def _send(self, message: Any) -> None:
        self.answers.append(message)


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """Takes the whole body, as Django does, and says how much it was."""
    size, more = 0, True
    while more:
        event = await receive()
        size += len(event["body"])
        more = event["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.mark.parametrize("length", [b"1048577", b"0000000000005000000000", b"9" * 5000])
async def test_a_length_that_is_too_large_is_refused_unread(length: bytes) -> None:
    visitor = Visitor([b"x"] * 3, length)
    assert await visitor.ask(application) == 413
    assert visitor.taken == 0
    assert (b"connection", b"close") in visitor.answers[0]["headers"]


async def test_without_a_length_it_is_refused_where_it_becomes_too_large() -> None:
    visitor = Visitor([b"x" * (MIB // 4)] * 100)
    assert await visitor.ask(application) == 413
    assert visitor.taken == 5
    assert [answer["type"] for answer in visitor.answers] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("length", [None, b"no number", b"1"])
async def test_a_length_is_not_believed(length: bytes | None) -> None:
    visitor = Visitor([b"x" * MIB, b"x"], length)
    assert await visitor.ask(application) == 413


@pytest.mark.parametrize("length", [None, b"1048576", b"0000000000001048576"])
async def test_what_is_not_too_large_comes_through_whole(length: bytes | None) -> None:
    visitor = Visitor([b"x" * (MIB // 2)] * 2, length)
    assert await visitor.ask(Bounded(reading)) == 200
    assert visitor.answers[1]["body"] == str(MIB).encode()


async def test_what_is_no_request_is_left_alone() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], receive, send))

    await Bounded(app)({"type": "lifespan"}, "receive", "send")  # type: ignore[arg-type]
    assert seen == [("lifespan", "receive", "send")]
