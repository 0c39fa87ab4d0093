"""One GET, wherever it leads: redirects, retries, credentials, addresses, and the translation of HTTP errors.

Redirects are followed here, one request each, so every hop is judged like the
first: by `reach.py` for where it goes, and by `scope.py` for whether credentials go along.
Once they did not, they do not for the rest of the way either: where a stranger's redirect
ends is the stranger's choice.

A hop that fails before its answer begins (no connection, or "busy": 429, 502, 503,
504) is tried again after a pause of random length, as long as the client behind it
would still be waiting. An origin that fails request after request is left alone for
a while (`breaker.py`): whoever asks meanwhile is told so at once.

Nothing of a URL but its host is ever shown or logged: indexes carry credentials
in user info, and signed file URLs carry them in the query. Of an address that is
not allowed the sandbox does not even learn the host, or whether it answers.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import monotonic

import aiohttp
from isal import isal_zlib
from yarl import URL

from sandboxes.index.breaker import Breaker
from sandboxes.index.config import Source
from sandboxes.index.errors import UnusableError, UpstreamError
from sandboxes.index.lru import Lru
from sandboxes.index.reach import (
    NotAllowedError,
    NotListedError,
    Origin,
    PublicResolver,
    check_listed,
    check_literal,
    origin_of,
)
from sandboxes.index.scope import Inner, Scope

logger = logging.getLogger(__name__)

aiohttp.set_zlib_backend(isal_zlib)  # pages arrive packed, and zlib takes twice as long to unpack them

BEGIN = 12.0  # seconds until an answer must begin, redirects and retries included; Poetry gives up after 15
_CONNECT = 5.0  # seconds
_IDLE = 30.0  # seconds without a byte
_REDIRECTS = 5
_REDIRECTION = (301, 302, 303, 307, 308)
_BUSY = (429, 502, 503, 504)
_TRIES = 3
_BACKOFF = 0.2  # seconds, doubled at each try; what is waited is random, from none to twice that
_LONGEST_WAIT = 5.0  # seconds that an upstream's Retry-After is waited for
_CONNECTIONS = 128  # more than flights may be, so pages find room beside them
_ORIGINS = 1000  # whose failures are remembered: pages can name any number
_CHUNK = 256 * 1024
# A page of some kB can unpack to as much as a page may have; only so many are read beyond this size at a time.
_LARGE = 2 * 1024 * 1024  # bytes
_LARGE_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """Until when an answer must have begun, and ended. Monotonic times."""

    begin: float
    end: float

    @classmethod
    def of(cls, total: float, begin: float = BEGIN) -> "Patience":
        """In seconds from now."""
        now = monotonic()
        return cls(now + min(begin, total), now + total)


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer, read to its end. `url` is where redirects ended; `charset` "" when it does not say."""

    status: int
    url: str
    host: str
    content_type: str
    charset: str
    etag: str
    content_range: str
    body: bytes


class Outbound:
    """Two sessions: one for origins an operator named, one that reaches public addresses only."""

    def __init__(self, source: Source) -> None:
        """Needs a running loop."""
        self._source = source
        self._scope = Scope(source)
        self._inner = Inner(source)
        tls = _tls(source.authorities)
        self._inside = _session(aiohttp.DefaultResolver(), tls)
        self._outside = _session(PublicResolver(aiohttp.DefaultResolver(), origin_of(URL(source.url))), tls)
        self._breakers: Lru[Origin, Breaker] = Lru(_ORIGINS)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

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
        target = _url(url)
        with _translated(target):
            async with self._following(target, headers, Patience.of(total), unpack) as response:
                yield response

    async def whole(
        self,
        url: str,
        headers: dict[str, str],
        patience: Patience,
        largest: Callable[[aiohttp.ClientResponse], int],
    ) -> Whole:
        """An answer and all of its body, unpacked; one that breaks off is asked for once more.

        `largest` says how many bytes the body may have. Raises `UpstreamError`.
        """
        target = _url(url)
        with _translated(target):
            try:
                return await self._whole(target, headers, patience, largest)
            except (aiohttp.ClientPayloadError, aiohttp.ClientOSError) as error:
                if monotonic() >= patience.begin:
                    raise
                logger.info("upstream %s broke off (%s): once more", target.host, type(error).__name__)
                return await self._whole(target, headers, patience, largest)

    async def _whole(
        self,
        target: URL,
        headers: dict[str, str],
        patience: Patience,
        largest: Callable[[aiohttp.ClientResponse], int],
    ) -> Whole:
        async with AsyncExitStack() as held:
            response = await held.enter_async_context(self._following(target, headers, patience, unpack=True))
            most, body, has_turn = largest(response), bytearray(), False
            async for chunk in response.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > _LARGE and not has_turn:
                    await self._turn(held, patience)
                    has_turn = True
                if len(body) > most:
                    raise UpstreamError(
                        f"The upstream index ({response.url.host}) sends a page larger than {most >> 20} MiB."
                    )
            return Whole(
                response.status,
                str(response.url),
                response.url.host or "",
                response.content_type,
                response.charset or "",
                response.headers.get("ETag", ""),
                response.headers.get("Content-Range", ""),
                bytes(body),
            )

    async def _turn(self, held: AsyncExitStack, patience: Patience) -> None:
        async with asyncio.timeout(max(patience.end - monotonic(), 0.001)):
            await held.enter_async_context(self._large)

    @asynccontextmanager
    async def _following(
        self, target: URL, headers: dict[str, str], patience: Patience, unpack: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        entitled = True
        for _ in range(_REDIRECTS + 1):
            entitled = entitled and self._scope.covers(target, origin_of(target))
            sent = headers | self._authorization() if entitled else headers
            async with await self._hop(target, sent, patience, unpack) as response:
                following = following_of(target, response.status, response.headers.get("Location"))
                if following is None:
                    yield response
                    return
            target = following
        raise UnusableError(f"The upstream index ({target.host}) redirects more than {_REDIRECTS} times.")

    async def _hop(
        self, target: URL, headers: dict[str, str], patience: Patience, unpack: bool
    ) -> aiohttp.ClientResponse:
        """One request, and its retries, under the origin's breaker."""
        origin = origin_of(target)
        breaker = self._breakers.get(origin)
        if breaker is None:
            breaker = Breaker()
            self._breakers.put(origin, breaker)
        if not breaker.enter():
            raise UpstreamError(
                f"The upstream index ({target.host}) failed a moment ago; it is left alone shortly."
            )
        tries = 1 if breaker.probing else _TRIES
        try:
            with _translated(target):
                response = await self._tried(target, origin, headers, patience, unpack, tries)
        except UpstreamError as error:
            if isinstance(error.__cause__, NotAllowedError):
                breaker.left()
            else:
                breaker.failed()
            raise
        except BaseException:
            breaker.left()
            raise
        if response.status in _BUSY:
            # One broken project's files must not close the index for all others: they count as one thing.
            of_file = not unpack or "Range" in headers
            breaker.failed(_retry_after(response), of="files" if of_file else target.raw_path)
        else:
            breaker.succeeded()
        return response

    async def _tried(
        self,
        target: URL,
        origin: Origin,
        headers: dict[str, str],
        patience: Patience,
        unpack: bool,
        tries: int,
    ) -> aiohttp.ClientResponse:
        for tried in range(1, tries + 1):
            wait = random.uniform(0, _BACKOFF * 2**tried)  # noqa: S311 — jitter, no secret
            try:
                response = await self._once(target, origin, headers, patience, unpack)
            except aiohttp.ClientConnectionError as error:
                if not _passes(error) or not _worth(tried, tries, wait, patience):
                    raise
            else:
                wait = max(wait, _retry_after(response))
                if response.status not in _BUSY or not _worth(tried, tries, wait, patience):
                    return response
                response.close()
            await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _once(
        self, target: URL, origin: Origin, headers: dict[str, str], patience: Patience, unpack: bool
    ) -> aiohttp.ClientResponse:
        timeout = aiohttp.ClientTimeout(
            total=max(patience.end - monotonic(), 0.001), sock_connect=_CONNECT, connect=None, sock_read=_IDLE
        )
        async with asyncio.timeout(max(patience.begin - monotonic(), 0.001)):
            return await self._session_for(target, origin).get(
                target,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                auto_decompress=unpack,
            )

    def _session_for(self, target: URL, origin: Origin) -> aiohttp.ClientSession:
        if self._inner.covers(target, origin):
            return self._inside
        check_listed(target, self._source.file_hosts)
        check_literal(target)
        return self._outside

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": self._source.authorization} if self._source.authorization else {}


def _passes(error: aiohttp.ClientConnectionError) -> bool:
    """Whether it may be over at the next try: neither a wrong certificate nor a forbidden address will."""
    lasting = isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError))
    return not lasting and not _is_not_allowed(error)


def _is_not_allowed(error: BaseException) -> bool:
    return isinstance(getattr(error, "os_error", error), NotAllowedError)


def _worth(tried: int, tries: int, wait: float, patience: Patience) -> bool:
    """Whether there is another try, and an answer to it could still begin in time."""
    return tried < tries and wait <= _LONGEST_WAIT and monotonic() + wait < patience.begin


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """RFC 9110, 10.2.3: seconds or a date; 0.0 when it is missing, past or unreadable."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


@contextmanager
def _translated(target: URL) -> Iterator[None]:
    """What goes wrong below is raised as `UpstreamError`."""
    try:
        yield
    except NotListedError as error:
        raise _not_listed(target) from error
    except NotAllowedError as error:
        raise _not_allowed(target) from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise _failed(target, "shows a certificate that is not trusted", error) from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, NotAllowedError):
            raise _not_allowed(target) from error.os_error
        raise _failed(target, "cannot be reached", error) from error
    except TimeoutError as error:
        raise _failed(target, "did not answer in time", error) from error
    except (aiohttp.ClientError, ValueError) as error:
        raise _failed(target, "broke off, or answered nonsense", error) from error


def _tls(authorities: Path | None) -> ssl.SSLContext:
    """Certificates are always verified; a company's own authorities count besides the system's."""
    context = ssl.create_default_context()
    if authorities is not None:
        context.load_verify_locations(authorities)
    return context


def _session(resolver: aiohttp.abc.AbstractResolver, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, resolver=resolver, ssl=tls)
    return aiohttp.ClientSession(connector=connector, headers={"User-Agent": "petridish-index"})


def _url(url: str) -> URL:
    try:
        return URL(url, encoded=True)
    except ValueError as error:
        raise UnusableError("The upstream index names an address that cannot be read.") from error


def following_of(target: URL, status: int, location: str | None) -> URL | None:
    """Where the answer redirects to; None when it does not. Raises for what must not be followed."""
    if status not in _REDIRECTION or location is None:
        return None
    following = target.join(URL(location))
    if following.scheme not in ("http", "https") or not following.raw_host:
        raise UnusableError(f"The upstream index ({target.host}) redirects to nonsense.")
    if target.scheme == "https" and following.scheme != "https":
        raise UnusableError(f"The upstream index ({target.host}) redirects from https to http.")
    return following


def _not_allowed(target: URL) -> UpstreamError:
    """The host is for the log only: an operator may want to name it in INDEX_FILE_ORIGINS."""
    logger.warning("upstream names %s, which is not public and not in INDEX_FILE_ORIGINS", target.host)
    return UnusableError("The upstream index names an address that is not allowed.")


def _not_listed(target: URL) -> UpstreamError:
    """As `_not_allowed`: the host is for the log."""
    logger.warning("upstream names %s, which is not in INDEX_FILE_HOSTS", target.host)
    return UnusableError("The upstream index names a host that this index is not set to get files from.")


def _failed(target: URL, how: str, error: Exception) -> UpstreamError:
    logger.warning("upstream %s %s: %s", target.host, how, type(error).__name__)
    return UpstreamError(f"The upstream index ({target.host}) {how}.")
