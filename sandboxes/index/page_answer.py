"""A page as an answer: etag, 304, packing, and whether it is old."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from isal import isal_zlib

from sandboxes.index import budget
from sandboxes.index.lru import Lru
from sandboxes.index.negotiation import Coding, Media
from sandboxes.index.once import Once
from sandboxes.index.packing import packed
from sandboxes.index.problems import reason_phrase
from sandboxes.index.render import VERSION
from sandboxes.index.withheld import Withheld

_OVERHEAD = 1_000  # bytes that a body takes in memory besides
_PACK_FROM = 1024  # bytes; below, packing saves nothing
# Higher ones take longer and, on pages of hashes, save a tenth at most; isal's 1 saves more than zlib's 3.
_LEVELS: Final = {Coding.ZSTD: 3, Coding.GZIP: 1}
_GZIP: Final = 31  # zlib's "wbits" for a gzip header and the widest window
_RENDER_IN_PLACE = 100  # entries; more are rendered in a thread


@dataclass(frozen=True, slots=True)
class Body:
    """One form of one page, in one encoding."""

    form: Media
    data: bytes
    coding: Coding
    etag: str


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """Sends a body, which may still be being made while the answer is recorded.

    `stale` says why it may be old; `settled_until` up to when policy says the same of it.
    """

    body: Body | asyncio.Task[Body]
    stale: str = ""
    received: None = None
    withheld: Withheld | None = None
    settled_until: datetime | None = None

    async def send(self, request: web.Request) -> web.Response:
        body = self.body if isinstance(self.body, Body) else await self.body
        headers = {
            "ETag": f'"{body.etag}"',
            "Cache-Control": "max-age=0, must-revalidate",
            "Vary": "Accept, Accept-Encoding",
        }
        if self.stale:
            headers["X-Petridish-Stale"] = reason_phrase(self.stale)
        if any(tag.value in (body.etag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = body.form.content_type
        if body.coding is not Coding.IDENTITY:
            headers["Content-Encoding"] = body.coding.value
        return web.Response(body=body.data, headers=headers)


class Bodies:
    """Rendered and packed once per page, form and encoding; the least used are rendered again later."""

    def __init__(self, room: int = budget.PAGE_BODIES) -> None:
        """`room`: bytes of memory."""
        self._bodies: Lru[tuple[str, Media, Coding], Body] = Lru(room)
        self._making: Once[tuple[str, Media, Coding], Body] = Once()

    async def get(
        self, digest: str, form: Media, coding: Coding, entries: int, render: Callable[[], bytes]
    ) -> Body:
        """`digest` stands for what `render` renders; `entries` is how many files or names that has."""
        key = (digest, form, coding)
        body = self._bodies.get(key)
        if body is not None:
            return body
        if entries <= _RENDER_IN_PLACE:
            return self._keep(key, _body(key, render))
        return await self._making.do(key, lambda: self._make(key, render))

    async def _make(self, key: tuple[str, Media, Coding], render: Callable[[], bytes]) -> Body:
        return self._keep(key, await asyncio.to_thread(_body, key, render))

    def _keep(self, key: tuple[str, Media, Coding], body: Body) -> Body:
        # The digest may have in it how a client named us, as long as heads may be.
        self._bodies.put(key, body, len(body.data) + len(key[0]) + _OVERHEAD)
        return body


def _body(key: tuple[str, Media, Coding], render: Callable[[], bytes]) -> Body:
    digest, form, coding = key
    data = render()
    coding = coding if len(data) >= _PACK_FROM else Coding.IDENTITY
    etag = hashlib.sha256(f"{VERSION} {digest} {form.value} {coding.value}".encode()).hexdigest()[:32]
    return Body(form, _packed(data, coding), coding, etag)


def _packed(data: bytes, coding: Coding) -> bytes:
    match coding:
        case Coding.ZSTD:
            return packed(data, _LEVELS[coding])
        case Coding.GZIP:
            return isal_zlib.compress(data, _LEVELS[coding], wbits=_GZIP)
        case Coding.IDENTITY:
            return data
