"""Verified files in an S3-compatible bucket: `PREFIX/aa/bb/SHA256`, one put each, so a name there is a whole file.

Endpoint and credentials come from the usual AWS_* variables. Files are streamed from the bucket to
sandboxes, or, if so set, given as a link that is signed for a minute: then sandboxes must reach the bucket.
"""

import os
from collections.abc import AsyncGenerator
from datetime import timedelta
from time import monotonic
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from sandboxes.index import budget
from sandboxes.index.errors import UnavailableError
from sandboxes.index.lru import Lru
from sandboxes.index.ranges import Span
from sandboxes.index.storage.disk import GoneError
from sandboxes.index.storage.draft import Draft

_SURE = 60.0  # seconds for which a file that was there is taken to be there still
_SIGNED = timedelta(minutes=1)  # how long a link can be used; an answer that began goes on
_PIECE = 256 * 1024
_PART = 8 * 1024 * 1024  # bytes of one part of an upload; a few are in memory at once
_PARTS = 2
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class Bucket:
    quick = False

    def __init__(self, url: str, *, redirect: bool) -> None:
        self._url = url
        self._redirect = redirect
        parts = urlsplit(url)
        plain = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "").startswith(
            "http://"
        )
        self._bucket = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            client_options={
                "allow_http": plain,
                "connect_timeout": "5s",
                "timeout": "1h",
                "read_timeout": "30s",
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
        )
        self._sizes: Lru[str, tuple[int, float]] = Lru(budget.REMEMBERED)

    def open(self) -> None:
        """Nothing to make: the bucket is there, or each request says that it is not."""

    def identity(self) -> str:
        return self._url

    async def size(self, sha256: str) -> int | None:
        known = self._sizes.get(sha256)
        if known is not None and monotonic() < known[1]:
            return known[0]
        try:
            meta = await obstore.head_async(self._bucket, _key(sha256))
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise _unavailable() from error
        self._remember(sha256, meta["size"])
        return meta["size"]

    async def read(self, sha256: str) -> bytes:
        try:
            result = await obstore.get_async(self._bucket, _key(sha256))
            return bytes(await result.bytes_async())
        except FileNotFoundError as error:
            self._sizes.drop(sha256)
            raise GoneError from error
        except (BaseError, OSError) as error:
            raise _unavailable() from error

    def file(self, sha256: str) -> None:
        return None

    async def link(self, sha256: str) -> str | None:
        """Where the client can get the file itself; None: not so set."""
        if not self._redirect:
            return None
        try:
            return await obstore.sign_async(self._bucket, "GET", _key(sha256), _SIGNED)
        except (BaseError, OSError) as error:
            raise _unavailable() from error

    async def stream(self, sha256: str, span: Span) -> AsyncGenerator[bytes]:
        try:
            options: obstore.GetOptions = {"range": (span.start, span.stop)}
            result = await obstore.get_async(self._bucket, _key(sha256), options=options)
            async for piece in result.stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except FileNotFoundError as error:
            self._sizes.drop(sha256)
            raise GoneError from error
        except (BaseError, OSError) as error:
            raise _unavailable() from error

    async def keep(self, draft: Draft, sha256: str) -> None:
        try:
            await obstore.put_async(
                self._bucket, _key(sha256), draft.path, chunk_size=_PART, max_concurrency=_PARTS
            )
        except (BaseError, OSError) as error:
            raise _unavailable() from error
        self._remember(sha256, draft.path.stat().st_size)
        draft.discard()

    def _remember(self, sha256: str, size: int) -> None:
        self._sizes.put(sha256, (size, monotonic() + _SURE))


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _unavailable() -> UnavailableError:
    """The details (in the error that caused it) may name hosts; they are for the log."""
    return UnavailableError("The index's storage does not answer; try again.")
