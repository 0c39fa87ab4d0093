"""The upstream registries: their packuments, and their tarballs as any other upstream's files."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from msgspec.structs import replace

from sandboxes.errors import PetridishError
from sandboxes.index.config import Source
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.npm.packument import Packument
from sandboxes.index.npm.reading import parse
from sandboxes.index.outbound import Patience, Whole
from sandboxes.index.upstream import Missing, NotModified, Upstream, patience_for
from sandboxes.index.upstreams import Sources, Upstreams

_LARGEST: Final = 64 * 1024 * 1024  # bytes of a packument, unpacked
_PARSE_IN_PLACE: Final = 64 * 1024
_GONE: Final = (404, 410)


@dataclass(frozen=True, slots=True)
class Fresh:
    packument: Packument
    etag: str


type Answer = Fresh | NotModified | Missing


class Registry(Upstream):
    """Asks one registry."""

    async def packument(self, name: str, etag: str, patience: Patience) -> Answer:
        """The full form: the short one does not say when a version was published. Raises `UpstreamError`."""
        answer = await self._outbound.whole(
            f"{self.source.url}{quote(name, safe='@~')}",
            {"Accept": "application/json"} | ({"If-None-Match": etag} if etag else {}),
            patience,
            lambda _: _LARGEST,
        )
        if answer.status == 304 and etag:
            return NotModified()
        if answer.status in _GONE:
            return Missing()
        if answer.status != 200:
            raise UpstreamError(
                f"The upstream index ({answer.host}) answered {answer.status} for the packument of {name}."
            )
        return Fresh(replace(await self._packument(name, answer), source=self.name), answer.etag)

    async def _packument(self, name: str, answer: Whole) -> Packument:
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


class Registries(Upstreams):
    """All of them, asked in the same order and by the same rules as Python's indexes."""

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__(())
        self._registries = {source.name: Registry(source) for source in sources}
        self._upstreams.update(self._registries)

    async def packument(self, name: str, tag: str, only: Sources) -> Answer:
        """As `page` is for Python's: `tag` is what came with the one that is known."""
        if self.offline:
            raise UnknownError(
                f"No packument of {name} is kept, and the index has no npm upstream (INDEX_NPM_UPSTREAM)."
            )
        mark, _, etag = tag.partition(" ")
        patience = patience_for(known=bool(tag))
        for registry in (self._registries[each.name] for each in self._of(name, only)):
            answer = await registry.packument(name, etag if mark == registry.mark else "", patience)
            match answer:
                case Fresh():
                    return Fresh(answer.packument, f"{registry.mark} {answer.etag}" if answer.etag else "")
                case NotModified():
                    return answer
                case Missing():
                    continue
        return Missing()
