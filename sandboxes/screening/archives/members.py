"""One file inside an archive, and the cache that lets detectors share what they read."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from sandboxes.screening.archives.errors import ArchiveError, BrokenError, LimitError
from sandboxes.screening.archives.limits import READ, Limits, said
from sandboxes.screening.archives.oddities import shown

_SHARE: Final = 4  # a member larger than a quarter of the cache would drive out too much


class Cache:
    """The last read members, by bytes. One that was read in part is kept in part."""

    def __init__(self, limits: Limits, *, lenient: bool = False) -> None:
        self.limits = limits
        self.lenient = lenient  # of what is broken as much is given as can be read
        self._kept: OrderedDict[int, tuple[bytes, bool]] = OrderedDict()
        self._size = 0

        self.error: ArchiveError | None = (
            None  # the first for which a member could not be read, caught or not
        )

    def read(self, key: int, most: int, chunks: Callable[[], Iterator[bytes]]) -> bytes:
        kept = self._kept.get(key)
        if kept is not None and (kept[1] or len(kept[0]) >= most):
            self._kept.move_to_end(key)
            return kept[0][:most]
        data, whole = _collected(chunks(), most)
        self._keep(key, data, whole)
        return data[:most]

    def _keep(self, key: int, data: bytes, whole: bool) -> None:
        old = self._kept.pop(key, None)
        self._size -= len(old[0]) if old else 0
        if len(data) > self.limits.cache // _SHARE:
            return
        self._kept[key] = (data, whole)
        self._size += len(data)
        while self._size > self.limits.cache:
            _, (gone, _) = self._kept.popitem(last=False)
            self._size -= len(gone)


def _collected(chunks: Iterator[bytes], most: int) -> tuple[bytes, bool]:
    """One byte more than asked for says that there is more; only the end proves the checksum."""
    parts, size = [], 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            return b"".join(parts), False
    return b"".join(parts), True


class FileMember:
    """Implements `package.Member`. `source` gives its bytes anew each time, as the archive has them."""

    __slots__ = ("_cache", "_number", "_source", "path", "size")

    def __init__(
        self, path: str, size: int, source: Callable[[], Iterator[bytes]], cache: Cache, number: int
    ) -> None:
        self.path = path
        self.size = size
        self._source = source
        self._cache = cache
        self._number = number

    @property
    def number(self) -> int:
        """The same for all links to one."""
        return self._number

    def __repr__(self) -> str:
        return f"<{self.path} {self.size}>"

    def renamed(self, path: str) -> "FileMember":
        """The same bytes elsewhere: without a first folder, or by way of a link."""
        return FileMember(path, self.size, self._source, self._cache, self._number)

    def read(self, most: int = READ) -> bytes:
        return self._cache.read(self._number, min(max(most, 0), self._cache.limits.most), self.chunks)

    def text(self, most: int = READ) -> str:
        return self.read(most).decode("utf-8", "replace")

    def chunks(self) -> Iterator[bytes]:
        """All of it, in pieces, however large it is; nothing is kept."""
        try:
            yield from self._counted()
        except ArchiveError as error:
            self._cache.error = self._cache.error or error
            if not self._cache.lenient:
                raise

    def _counted(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._source():
            size += len(chunk)
            if size > self.size:
                raise LimitError(f"{shown(self.path)} says it has {said(self.size)}, and has more")
            yield chunk
        if size < self.size:
            raise BrokenError(f"{shown(self.path)} says it has {said(self.size)}, and has {said(size)}")
