"""One GET, wherever it leads: redirects, credentials, addresses, and the translation of HTTP errors.

Redirects are followed here, one request each, so every hop is judged like the
first: by `reach.py` for where it goes, and for whether credentials go along.

Nothing of a URL but its host is ever shown or logged: indexes carry credentials
in user info, and signed file URLs carry them in the query. Of an address that is
not allowed the sandbox does not even learn the host, or whether it answers.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import aiohttp
from yarl import URL

from sandboxes.index.config import Source
from sandboxes.index.errors import UpstreamError
from sandboxes.index.lru import Lru
from sandboxes.index.reach import NotAllowedError, Origin, PublicResolver, check_literal, origin_of

logger = logging.getLogger(__name__)

_CONNECT = 10.0  # seconds
_IDLE = 30.0  # seconds without a byte
_PAUSE = 5.0  # seconds without trying an origin again that could not be reached
_REDIRECTS = 5
_REDIRECTION = (301, 302, 303, 307, 308)
_CONNECTIONS = 128  # more than flights may be, so pages find room beside them
_ORIGINS = 1000  # whose silence is remembered: pages can name any number


class Outbound:
    """Two sessions: one for origins an operator named, one that reaches public addresses only."""

    def __init__(self, source: Source) -> None:
        """Needs a running loop."""
        self._source = source
        self._own = origin_of(URL(source.url))
        self._trusted = {self._own, *(origin_of(URL(url)) for url in source.file_origins)}
        self._inside = _session(aiohttp.DefaultResolver())
        self._outside = _session(PublicResolver(aiohttp.DefaultResolver(), self._own))
        self._silent_until: Lru[Origin, float] = Lru(_ORIGINS)

    async def close(self) -> None:
        await self._inside.close()
        await self._outside.close()

    @asynccontextmanager
    async def get(
        self, url: str, headers: dict[str, str], total: float, *, unpack: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer at the end of redirects. Raises `UpstreamError`, also while the body is read.

        `total` is how many seconds all of it may take.
        """
        target, last = _url(url), monotonic() + total
        for _ in range(_REDIRECTS + 1):
            async with self._hop(target, headers, last - monotonic(), unpack) as response:
                following = following_of(target, response.status, response.headers.get("Location"))
                if following is None:
                    yield response
                    return
            target = following
        raise UpstreamError(f"The upstream index ({target.host}) redirects more than {_REDIRECTS} times.")

    @asynccontextmanager
    async def _hop(
        self, target: URL, headers: dict[str, str], left: float, unpack: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        origin = origin_of(target)
        self._check_silence(target, origin)
        timeout = aiohttp.ClientTimeout(
            total=max(left, 0.001), sock_connect=_CONNECT, connect=None, sock_read=_IDLE
        )
        try:
            async with self._session_for(target, origin).get(
                target,
                headers=headers | self._authorization(origin),
                timeout=timeout,
                allow_redirects=False,
                auto_decompress=unpack,
            ) as response:
                yield response
        except NotAllowedError as error:
            raise _not_allowed(target) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            if isinstance(getattr(error, "os_error", None), NotAllowedError):
                raise _not_allowed(target) from error
            self._silent_until.put(origin, monotonic() + _PAUSE)
            raise _failed(target, "cannot be reached", error) from error
        except TimeoutError as error:
            raise _failed(target, "did not answer in time", error) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise _failed(target, "broke off, or answered nonsense", error) from error

    def _session_for(self, target: URL, origin: Origin) -> aiohttp.ClientSession:
        if origin in self._trusted:
            return self._inside
        check_literal(target)
        return self._outside

    def _check_silence(self, target: URL, origin: Origin) -> None:
        if monotonic() < (self._silent_until.get(origin) or 0.0):
            raise UpstreamError(f"The upstream index ({target.host}) could not be reached a moment ago.")

    def _authorization(self, origin: Origin) -> dict[str, str]:
        """Credentials go to the index's own origin and nowhere else."""
        own = origin == self._own and self._source.authorization
        return {"Authorization": self._source.authorization} if own else {}


def _session(resolver: aiohttp.abc.AbstractResolver) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, resolver=resolver)
    return aiohttp.ClientSession(connector=connector, headers={"User-Agent": "petridish-index"})


def _url(url: str) -> URL:
    try:
        return URL(url, encoded=True)
    except ValueError as error:
        raise UpstreamError("The upstream index names an address that cannot be read.") from error


def following_of(target: URL, status: int, location: str | None) -> URL | None:
    """Where the answer redirects to; None when it does not. Raises for what must not be followed."""
    if status not in _REDIRECTION or location is None:
        return None
    following = target.join(URL(location))
    if following.scheme not in ("http", "https") or not following.raw_host:
        raise UpstreamError(f"The upstream index ({target.host}) redirects to nonsense.")
    if target.scheme == "https" and following.scheme != "https":
        raise UpstreamError(f"The upstream index ({target.host}) redirects from https to http.")
    return following


def _not_allowed(target: URL) -> UpstreamError:
    """The host is for the log only: an operator may want to name it in INDEX_FILE_ORIGINS."""
    logger.warning("upstream names %s, which is not public and not in INDEX_FILE_ORIGINS", target.host)
    return UpstreamError("The upstream index names an address that is not allowed.")


def _failed(target: URL, how: str, error: Exception) -> UpstreamError:
    logger.warning("upstream %s %s: %s", target.host, how, type(error).__name__)
    return UpstreamError(f"The upstream index ({target.host}) {how}.")
