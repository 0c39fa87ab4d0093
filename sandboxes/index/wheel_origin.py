"""Where files are fetched from: the upstreams; and metadata files (PEP 658) from the wheels, too.

An upstream may have none, or promise one on its page and then not have it, or have another one. A client that
saw the promise does without the wheel if it is not kept. So what is beside the wheel is taken only if it is
what the page says, and METADATA is read from the wheel else: it is the same, if the page is right. If it is
not, the page is wrong, and is mended; who saw it before has to look at it again. Where an upstream gives no
parts of files, the wheel is fetched as a whole: the client cannot go on without it.

Which metadata is meant says the fragment of its URL. What is read by ranges is the upstream's word, exactly
as a metadata file of its own would be: clients check it against the wheel.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sandboxes.errors import PetridishError
from sandboxes.index.core_metadata import LARGEST
from sandboxes.index.errors import UnknownError, UnusableError, UpstreamError
from sandboxes.index.files import IN_WHEEL
from sandboxes.index.flight import Blob
from sandboxes.index.names import METADATA
from sandboxes.index.ranges import Span
from sandboxes.index.store import Store
from sandboxes.index.upstream import Download, NoRangesError
from sandboxes.index.upstreams import Upstreams
from sandboxes.index.wheel_metadata import NotReadableError, metadata_of

logger = logging.getLogger(__name__)

_MOST = 64 * 1024 * 1024  # bytes of a wheel that is fetched as a whole; no client waits for a larger one


@dataclass(frozen=True, slots=True)
class Wheel:
    """What a fragment says of the wheel whose metadata is wanted."""

    sha256: str
    project: str
    version: str
    size: int | None
    # The sha256 of the metadata that its upstream has beside it, as its page says; "": none.
    promised: str = ""

    @classmethod
    def read(cls, fragment: str) -> "Wheel":
        sha256, project, version, size, promised = fragment.split("/")
        return cls(sha256, project, version, int(size) if size else None, promised)


type Bring = Callable[[Blob], Awaitable[None]]  # into the store
type Mend = Callable[[Wheel, str], Awaitable[bool]]  # also given the upstream; whether its page is right now


class WheelOrigin:
    def __init__(self, store: Store, upstream: Upstreams) -> None:
        self._store = store
        self._upstream = upstream
        self._bring: Bring | None = None
        self._mend: Mend | None = None

    def tell(self, bring: Bring, mend: Mend) -> None:
        """`mend` is called when a page promises other metadata than is in the wheel. Both use this."""
        self._bring, self._mend = bring, mend

    @asynccontextmanager
    async def file(self, url: str, what: str, source: str) -> AsyncIterator[Download]:
        plain, mark, fragment = url.partition(IN_WHEEL)
        if not mark:
            async with self._upstream.file(url, what, source) as download:
                yield download
            return
        wheel = Wheel.read(fragment)
        read = self._promised if wheel.promised else self.metadata
        data = await read(plain, wheel, what, source)
        yield Download(len(data), _once(data))

    async def metadata(self, url: str, wheel: Wheel, what: str, source: str) -> bytes:
        """What is in the wheel. Raises `UpstreamError` for one that has none that could be given."""
        stored = await self._store.size(wheel.sha256)

        async def read(start: int, stop: int) -> bytes:
            if stored is not None:
                return await self._stored(wheel.sha256, start, stop)
            return await self._upstream.part(url, start, stop, what, source)

        size = stored or wheel.size or await self._upstream.length(url, what, source)
        try:
            return await metadata_of(read, size, wheel.project, wheel.version)
        except NotReadableError as error:
            raise UnusableError(f"{what} cannot be read from the wheel: {error}.") from error

    async def _promised(self, url: str, wheel: Wheel, what: str, source: str) -> bytes:
        try:
            return await self._beside(url, wheel, what, source)
        except (UpstreamError, UnknownError) as error:
            data = await self._instead(url, wheel, what, source)
            if data is None:
                raise
            logger.info("%s read from the wheel: %s", what, error)
            if _digest(data) == wheel.promised:
                return data
            if self._mend is None or not await self._mend(wheel, source):
                raise
            raise UnusableError(f"{error} Its page is mended; try again.") from error

    async def _beside(self, url: str, wheel: Wheel, what: str, source: str) -> bytes:
        data = bytearray()
        async with self._upstream.file(_beside(url), what, source) as download:
            async for chunk in download.chunks:
                data += chunk
                if len(data) > LARGEST:
                    raise UnusableError(f"{what} is larger than {LARGEST >> 20} MiB.")
        if _digest(data) != wheel.promised:
            raise UnusableError(f"The upstream's {what} has another sha256 than its page says.")
        return bytes(data)

    async def _instead(self, url: str, wheel: Wheel, what: str, source: str) -> bytes | None:
        if not what.endswith(f".whl{METADATA}"):
            return None
        try:
            return await self._in_part_or_whole(url, wheel, what, source)
        except PetridishError as error:
            logger.info("%s neither: %s", what, error)
            return None

    async def _in_part_or_whole(self, url: str, wheel: Wheel, what: str, source: str) -> bytes:
        try:
            return await self.metadata(url, wheel, what, source)
        except NoRangesError:
            if self._bring is None or wheel.size is None or wheel.size > _MOST:
                raise
        filename = what.removesuffix(METADATA)
        await self._bring(Blob(wheel.sha256, wheel.size, url, filename, source=source))
        return await self.metadata(url, wheel, what, source)

    async def _stored(self, sha256: str, start: int, stop: int) -> bytes:
        return b"".join([piece async for piece in self._store.place.stream(sha256, Span(start, stop))])


def _beside(url: str) -> str:
    """PEP 658: the file's URL plus ".metadata"."""
    path, mark, query = url.partition("?")
    return f"{path}{METADATA}{mark}{query}"


def _digest(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
