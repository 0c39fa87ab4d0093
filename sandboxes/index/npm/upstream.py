"""The upstream registry: its packuments, and its tarballs as any other upstream's files."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from sandboxes.errors import PetridishError
from sandboxes.index.config import Source
from sandboxes.index.errors import UpstreamError
from sandboxes.index.npm.packument import Packument
from sandboxes.index.npm.reading import parse
from sandboxes.index.outbound import Outbound, Whole
from sandboxes.index.upstream import Download, Missing, NotModified, Upstream, patience_for

_LARGEST: Final = 64 * 1024 * 1024  # bytes of a packument, unpacked
_PARSE_IN_PLACE: Final = 64 * 1024
_PARSES: Final = 2
_GONE: Final = (404, 410)


@dataclass(frozen=True, slots=True)
class Fresh:
    packument: Packument
    etag: str


type Answer = Fresh | NotModified | Missing


class Registry:
    def __init__(self, source: Source) -> None:
        """Needs a running loop."""
        self.source = source
        self._outbound = Outbound(source)
        self._files = Upstream(source)
        self._parsing = asyncio.Semaphore(_PARSES)

    async def close(self) -> None:
        await self._outbound.close()
        await self._files.close()

    @property
    def mark(self) -> str:
        return self._files.mark

    async def packument(self, name: str, tag: str) -> Answer:
        """The full form: the short one does not say when a version was published.

        `tag` is what came with the one that is known ("" for none). Raises `UpstreamError`.
        """
        mark, _, etag = tag.partition(" ")
        known = etag if mark == self.mark else ""
        answer = await self._outbound.whole(
            f"{self.source.url}{quote(name, safe='@~')}",
            {"Accept": "application/json"} | ({"If-None-Match": known} if known else {}),
            patience_for(known=bool(tag)),
            lambda _: _LARGEST,
        )
        if answer.status == 304 and known:
            return NotModified()
        if answer.status in _GONE:
            return Missing()
        if answer.status != 200:
            raise UpstreamError(
                f"The upstream index ({answer.host}) answered {answer.status} for the packument of {name}."
            )
        packument = replace(await self._parse(name, answer), source=self.source.name)
        return Fresh(packument, f"{self.mark} {answer.etag}" if answer.etag else "")

    @asynccontextmanager
    async def file(self, url: str, what: str, source: str) -> AsyncIterator[Download]:
        """Raises as `Upstream.file` does. `source` is this one: there is no other."""
        async with self._files.file(url, what) as download:
            yield download

    async def _parse(self, name: str, answer: Whole) -> Packument:
        """Raises `UpstreamError`, whatever reading stumbles over."""
        try:
            if len(answer.body) <= _PARSE_IN_PLACE:
                return parse(name, answer.body, answer.url)
            async with self._parsing:
                return await asyncio.to_thread(parse, name, answer.body, answer.url)
        except PetridishError:
            raise
        except Exception as error:
            raise UpstreamError(f"The upstream's packument of {name} cannot be read.") from error
