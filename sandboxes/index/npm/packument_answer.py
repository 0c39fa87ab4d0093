"""A packument as an answer: form, packing, etag, 304, and whether it is old."""

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandboxes.index.lru import Lru
from sandboxes.index.negotiation import Coding, coding_for
from sandboxes.index.npm import render
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.packuments import Packuments, Shown
from sandboxes.index.npm.render import Form
from sandboxes.index.npm.view import View
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.problems import reason_phrase
from sandboxes.index.withheld import Withheld

_ROOM: Final = 64 * 1024 * 1024  # bytes of rendered packuments in memory
_PACK_FROM: Final = 1024  # bytes
_IN_PLACE: Final = 100  # versions; more are rendered in a thread


@dataclass(frozen=True, slots=True)
class Body:
    data: bytes
    form: Form
    packed: bool
    etag: str


@dataclass(frozen=True, slots=True)
class PackumentAnswer:
    body: Body
    stale: str
    withheld: Withheld | None
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
        headers["Content-Type"] = self.body.form.value
        if self.body.packed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=self.body.data, headers=headers)


class PackumentAnswers:
    """`index_url`: the index's own, as sandboxes know it; "": as each request names it."""

    def __init__(self, packuments: Packuments, judge: NpmJudge, index_url: str) -> None:
        self._packuments = packuments
        self._judge = judge
        self._index_url = index_url
        self._bodies: Lru[tuple[str, ...], Body] = Lru(_ROOM)

    async def answer(self, request: web.Request, name: str, subject: Subject) -> PackumentAnswer:
        shown = await self._packuments.get(name)
        view = await self._judge.packument(subject, shown)
        form = render.form_for(", ".join(request.headers.getall("Accept", [])))
        packed = coding_for(", ".join(request.headers.getall("Accept-Encoding", []))) is not Coding.IDENTITY
        base = self._index_url or f"{request.scheme}://{request.host}"
        return PackumentAnswer(await self._body(shown, view, form, base, packed), shown.stale, view.withheld)

    async def _body(self, shown: Shown, view: View, form: Form, base: str, packed: bool) -> Body:
        key = (str(render.VERSION), shown.digest, view.digest, base, form.value, str(packed))
        body = self._bodies.get(key)
        if body is None:
            work = (key, shown, view, form, base, packed)
            in_place = len(shown.packument.releases) <= _IN_PLACE
            body = _body(*work) if in_place else await asyncio.to_thread(_body, *work)
            self._bodies.put(key, body, len(body.data))
        return body


def _body(key: tuple[str, ...], shown: Shown, view: View, form: Form, base: str, packed: bool) -> Body:
    data = render.render(shown.packument, view, form, base)
    packed = packed and len(data) >= _PACK_FROM
    etag = hashlib.sha256("\n".join(key).encode("utf-8", "replace")).hexdigest()[:32]
    return Body(gzip.compress(data, 6, mtime=0) if packed else data, form, packed, etag)
