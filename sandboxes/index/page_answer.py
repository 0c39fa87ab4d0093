"""A page as an answer: etag, 304, gzip, and whether it is old."""

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from sandboxes.index.lru import Lru
from sandboxes.index.negotiation import Form
from sandboxes.index.problems import reason_phrase
from sandboxes.index.render import VERSION

_ROOM = 64 * 1024 * 1024  # bytes of rendered pages in memory
_GZIP_FROM = 1024  # bytes; below, packing saves nothing
_RENDER_IN_PLACE = 100  # entries; more are rendered in a thread


@dataclass(frozen=True, slots=True)
class Body:
    """One form of one page, in one encoding."""

    form: Form
    data: bytes
    packed: bool
    etag: str


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """Sends a body. `stale` says why it may be old."""

    body: Body
    stale: str = ""
    received: None = None

    async def send(self, request: web.Request) -> web.StreamResponse:
        headers = {
            "ETag": f'"{self.body.etag}"',
            "Cache-Control": "max-age=0, must-revalidate",
            "Vary": "Accept, Accept-Encoding",
        }
        if self.stale:
            headers["X-Petridish-Stale"] = reason_phrase(self.stale)
        if any(tag.value in (self.body.etag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = self.body.form.content_type
        if self.body.packed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=self.body.data, headers=headers)


class Bodies:
    """Rendered and packed once per page, form and encoding; the least used are rendered again later."""

    def __init__(self) -> None:
        self._bodies: Lru[tuple[str, Form, bool], Body] = Lru(_ROOM)

    async def get(
        self, digest: str, form: Form, packed: bool, entries: int, render: Callable[[], bytes]
    ) -> Body:
        """`digest` stands for what `render` renders; `entries` is how many files or names that has."""
        key = (digest, form, packed)
        body = self._bodies.get(key)
        if body is None:
            in_place = entries <= _RENDER_IN_PLACE
            body = _body(key, render) if in_place else await asyncio.to_thread(_body, key, render)
            self._bodies.put(key, body, len(body.data))
        return body


def _body(key: tuple[str, Form, bool], render: Callable[[], bytes]) -> Body:
    digest, form, packed = key
    data = render()
    pack = packed and len(data) >= _GZIP_FROM
    etag = hashlib.sha256(f"{VERSION} {digest} {form.value} {pack}".encode()).hexdigest()[:32]
    return Body(form, gzip.compress(data, 6, mtime=0) if pack else data, pack, etag)
