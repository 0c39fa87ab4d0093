"""All upstream indexes: which of them is asked for a project, and what is fetched from which.

An upstream that was given names has those projects alone: they are asked of no other, and it is
asked for nothing else. Otherwise whoever registers a company's internal name at a public index
could have their code installed in its stead (dependency confusion). All other projects are asked
of the upstreams without names in their order, the next one only when the one before says that it
has no such project: when that one fails, the page fails (or an old one is shown), because another's
project of the same name may be another project. Pages are never merged.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from sandboxes.index.config import Source
from sandboxes.index.errors import UnknownError
from sandboxes.index.upstream import Download, Fresh, Missing, NotModified, PageAnswer, Upstream, patience_for

type Sources = frozenset[str] | None  # the names of those that may be asked; None: whoever may have it


class Upstreams:
    def __init__(self, sources: Sequence[Source]) -> None:
        """Needs a running loop. Without sources the index is offline: what it has is all there is."""
        self._upstreams = {source.name: Upstream(source) for source in sources}

    async def close(self) -> None:
        for upstream in self._upstreams.values():
            await upstream.close()

    @property
    def offline(self) -> bool:
        return not self._upstreams

    def may_have(self, project: str, source: str) -> bool:
        """Whether a page of `project` that came from `source` may (still) be shown."""
        return self.offline or any(upstream.name == source for upstream in self._of(project))

    def asks(self, project: str, only: Sources) -> bool:
        """Whether there is anybody to ask; an index without upstreams says so itself, in `page`."""
        return self.offline or bool(self._of(project, only))

    async def page(self, project: str, tag: str, only: Sources = None) -> PageAnswer:
        """`tag` is what came with the page that is known ("" for none), as `Fresh.etag` gives it.

        Raises `UpstreamError`, or `UnknownError` when the index is offline.
        """
        if self.offline:
            raise UnknownError(f"No project {project} in the store, and the index has no upstream.")
        mark, _, etag = tag.partition(" ")
        patience = patience_for(known=bool(tag))
        for upstream in self._of(project, only):
            answer = await upstream.page(project, etag if mark == upstream.mark else "", patience)
            match answer:
                case Fresh():
                    return replace(answer, etag=f"{upstream.mark} {answer.etag}" if answer.etag else "")
                case NotModified():
                    return answer
                case Missing():
                    continue
        return Missing()

    @asynccontextmanager
    async def file(self, url: str, what: str, source: str) -> AsyncIterator[Download]:
        """A file that a page of `source` names; raises as `Upstream.file` does."""
        async with self._named(source, what).file(url, what) as download:
            yield download

    async def document(self, url: str, what: str, source: str) -> bytes:
        return await self._named(source, what).document(url, what)

    async def part(self, url: str, start: int, stop: int, what: str, source: str) -> bytes:
        return await self._named(source, what).part(url, start, stop, what)

    async def length(self, url: str, what: str, source: str) -> int:
        return await self._named(source, what).length(url, what)

    def _named(self, source: str, what: str) -> Upstream:
        upstream = self._upstreams.get(source)
        if upstream is None:
            raise UnknownError(f"{what} is not in the store, and the index has no upstream to ask for it.")
        return upstream

    def _of(self, project: str, only: Sources = None) -> list[Upstream]:
        """Who is asked for a project, in order."""
        upstreams = self._upstreams.values()
        named = next((each for each in upstreams if _names(each, project)), None)
        asked = [named] if named else [each for each in upstreams if not each.source.names]
        return asked if only is None else [each for each in asked if each.name in only]


def _names(upstream: Upstream, project: str) -> bool:
    return any(pattern.names(project) for pattern in upstream.source.names)
