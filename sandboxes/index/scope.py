"""Where an upstream's credentials may go: to its own pages and files, and to nothing else on its host.

Many hosts carry more than one index, and pages and redirects name any URL they like. So credentials go to
what is below the index's own directory, which is that above ``simple/`` (private indexes keep their files
beside their pages: ``…/repo/packages/``, ``…/+f/``), and to directories of the same origin that an operator
named. Servers and proxies read paths in their own ways: one that any of them could read as leading out of
its directory gets nothing.
"""

from urllib.parse import unquote

from yarl import URL

from sandboxes.index.config import Source
from sandboxes.index.reach import Origin, origin_of

_PAGES = ("simple", "+simple")  # the last part of an index's URL, beside which its files are
_DECODINGS = 4  # times a path may have been encoded; more is nobody's


class Scope:
    """Pure."""

    def __init__(self, source: Source) -> None:
        index, *named = (URL(url, encoded=True) for url in (source.url, *source.file_origins))
        self._origin = origin_of(index)
        own = [_directory(url.raw_path) for url in named if origin_of(url) == self._origin]
        self._directories = (_base(index.raw_path), *own)

    def covers(self, url: URL, origin: Origin) -> bool:
        """`origin`: the URL's."""
        if origin != self._origin:
            return False
        return url.raw_path.startswith(self._directories) and _is_straight(url.raw_path)


class Inner:
    """What may be asked for at addresses of our own network: the index's host, and what an operator named. Pure."""

    def __init__(self, source: Source) -> None:
        self._own = origin_of(URL(source.url, encoded=True))
        named = [URL(url, encoded=True) for url in source.file_origins]
        self._named = [(origin_of(url), _directory(url.raw_path)) for url in named]

    def covers(self, url: URL, origin: Origin) -> bool:
        """`origin`: the URL's. Of an origin that was named with a path, only what is below that."""
        return origin == self._own or any(
            origin == named and url.raw_path.startswith(directory) and _is_straight(url.raw_path)
            for named, directory in self._named
        )


def _base(path: str) -> str:
    """The directory of an index whose pages are at `path`."""
    directory = _directory(path)
    above, _, last = directory.rstrip("/").rpartition("/")
    return f"{above}/" if last in _PAGES else directory


def _directory(path: str) -> str:
    return f"{path.rstrip('/')}/"


def _is_straight(path: str) -> bool:
    """Whether no part of it means "up" or "here" (RFC 3986, 3.3), however it is written."""
    for _ in range(_DECODINGS):
        parts = path.replace("\\", "/").split("/")
        if any(part.partition(";")[0] in (".", "..") for part in parts):  # some take "..;x" for ".."
            return False
        decoded = unquote(path)
        if decoded == path:
            return True
        path = decoded
    return False
