"""One connection's way through the egress proxy; see the package's docstring for the order and why."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from time import monotonic
from typing import Final

from sandboxes.errors import PetridishError
from sandboxes.index.database import Database
from sandboxes.index.egress.addresses import Addresses, NotPublicError
from sandboxes.index.egress.head import (
    ESTABLISHED,
    Authority,
    HangUpError,
    Head,
    ProxyError,
    answer,
    authority_of,
    plain,
    read_head,
)
from sandboxes.index.egress.records import Records
from sandboxes.index.egress.tunnel import Stream, Tunnel
from sandboxes.index.egress.watch import Watch
from sandboxes.index.errors import RETRY_AFTER, UnauthenticatedError, UnavailableError
from sandboxes.index.identity import Identities, Visitor
from sandboxes.index.lru import Lru

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
TUNNELS: Final = 64  # of one sandbox at a time
OPENINGS: Final = 600  # of one sandbox in a minute: each is a row
CONNECTIONS: Final = 4000  # of all
HEADS: Final = 256  # connections that have not shown yet who they are
_REMEMBERED: Final = 4096  # sandboxes whose newest openings are known
_CHALLENGE: Final = {"Proxy-Authenticate": 'Basic realm="Petridish sandbox", charset="UTF-8"'}


class Proxy:
    def __init__(self, database: Database, addresses: Addresses, watch: Watch, public_url: str) -> None:
        self._database = database
        self._identities = Identities(database)
        self._records = Records(database)
        self._addresses = addresses
        self._watch = watch
        self._public_url = public_url
        self._running: set[asyncio.Task[None] | None] = set()
        self._pending: dict[Stream, None] = {}  # in the order they came
        self._tunnels: Counter[int] = Counter()
        self._openings: Lru[int, deque[float]] = Lru(_REMEMBERED)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end. Never raises."""
        client = Stream(reader, writer)
        task = asyncio.current_task()
        self._running.add(task)
        try:
            if len(self._running) > CONNECTIONS:
                client.abort()
            else:
                await self._serve(client)
        except (HangUpError, OSError):
            pass
        except Exception:  # details are for the log: they could tell a sandbox about hosts and values
            logger.exception("a connection failed")
        finally:
            await client.close()
            self._running.discard(task)

    async def rest(self, seconds: float) -> None:
        """Waits for what is under way: a tunnel that was cut still has its end to write down."""
        running = [task for task in self._running if task is not None]
        if running:
            await asyncio.wait(running, timeout=seconds)

    async def _serve(self, client: Stream) -> None:
        try:
            with self._waiting(client):
                head = await read_head(client.reader)
                if head.method != "CONNECT":
                    client.writer.write(await self._plainly(head))
                    return
                visitor, to = await self._asked(head)
        except PetridishError as error:
            await _refuse(client, _as_proxy_error(error), {})
            return
        try:
            await self._connect(client, visitor, to, head.rest)
        except PetridishError as error:
            await self._refused(client, visitor, to, error)

    @contextmanager
    def _waiting(self, client: Stream) -> Iterator[None]:
        """A head takes milliseconds, so of too many that wait the oldest is the one that only takes up room."""
        if len(self._pending) >= HEADS:
            next(iter(self._pending)).abort()
        self._pending[client] = None
        try:
            yield
        finally:
            del self._pending[client]

    async def _plainly(self, head: Head) -> bytes:
        """Health for whoever runs us; anything else is not what this proxy is for."""
        if head.method == "GET" and head.target in ("/healthz", "/readyz"):
            if head.target == "/readyz":
                await self._database.rows("SELECT 1", {})
            return plain(HTTPStatus.OK, "OK", b"ok\n")
        if head.target.startswith("/"):
            raise ProxyError(HTTPStatus.NOT_FOUND, "not_found", "This is the egress proxy; it has no pages.")
        raise ProxyError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "plain_http",
            "The egress proxy passes on no plain http requests, only CONNECT: use https.",
            {"Allow": "CONNECT"},
        )

    async def _asked(self, head: Head) -> tuple[Visitor, Authority]:
        if head.authorization is None:
            raise UnauthenticatedError(
                "The egress proxy needs a sandbox's name and token, as its index does."
            )
        visitor = await self._identities.of(head.authorization)
        return visitor, authority_of(head.target)

    async def _connect(self, client: Stream, visitor: Visitor, to: Authority, first: bytes) -> None:
        async with self._room(visitor.sandbox):
            judged = await self._records.judge(visitor, to)
            if not judged.allowed:
                raise ProxyError(
                    HTTPStatus.FORBIDDEN,
                    "egress_not_allowed",
                    f"The seal lets this sandbox reach no {to}; ask for it at {self._page(visitor)}",
                )
            addresses = await self._addresses.of(to.host, to.port, judged.closed)
            number = await self._records.open(visitor, to, addresses[0])
            if number is None:
                raise UnauthenticatedError("The way out, or the sandbox, ended just now.")
            await self._tunnel(client, number, to, addresses, first)

    async def _tunnel(
        self, client: Stream, number: int, to: Authority, addresses: list[str], first: bytes
    ) -> None:
        try:
            server = await self._reach(number, to, addresses)
        except BaseException as error:
            reason = str(error) if isinstance(error, PetridishError) else "Given up."
            with suppress(UnavailableError):
                await self._records.close(number, up=0, down=0, reason=reason, allowed=True)
            raise
        tunnel = Tunnel(number, to, client, server)
        self._watch.add(tunnel)
        try:
            client.writer.write(ESTABLISHED)
            await tunnel.run(first)
        finally:
            await asyncio.gather(server.close(), self._watch.end(tunnel))

    async def _reach(self, number: int, to: Authority, addresses: list[str]) -> Stream:
        """The first address that answers; which one is tried is written down before."""
        for turn, address in enumerate(addresses):
            if turn:
                await self._records.move(number, address)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return Stream(*await asyncio.open_connection(address, to.port))
            except OSError as error:  # a TimeoutError is one
                logger.info("connection %s: %s does not answer: %s", number, address, type(error).__name__)
        raise _ReachError(HTTPStatus.BAD_GATEWAY, "unreachable", f"{to} cannot be reached now.")

    @asynccontextmanager
    async def _room(self, sandbox: int) -> AsyncIterator[None]:
        """One sandbox takes no more than its share."""
        if self._tunnels[sandbox] >= TUNNELS:
            raise _too_many(f"More than {TUNNELS} connections of this sandbox at a time.")
        now, recent = monotonic(), self._openings.get(sandbox) or deque[float]()
        while recent and now - recent[0] > 60:
            recent.popleft()
        if len(recent) >= OPENINGS:
            raise _too_many(f"More than {OPENINGS} connections of this sandbox in a minute.")
        recent.append(now)
        self._openings.put(sandbox, recent)
        self._tunnels[sandbox] += 1
        try:
            yield
        finally:
            self._tunnels[sandbox] -= 1
            if not self._tunnels[sandbox]:
                del self._tunnels[sandbox]

    async def _refused(self, client: Stream, visitor: Visitor, to: Authority, error: PetridishError) -> None:
        """Written down, then answered."""
        if isinstance(error, UnauthenticatedError):
            self._identities.forget(visitor)
        elif not isinstance(error, (UnavailableError, _ReachError)):  # the latter has its row already
            try:
                address = error.address if isinstance(error, NotPublicError) else ""
                await self._records.refuse(visitor.sandbox, to, str(error), address)
            except UnavailableError as unavailable:
                error = unavailable
        await _refuse(client, _as_proxy_error(error), {"ask": self._page(visitor)})

    def _page(self, visitor: Visitor) -> str:
        return f"{self._public_url}/sandboxes/{visitor.sandbox}"


class _ReachError(ProxyError):
    """It was allowed and written down, and nobody answered."""


def _too_many(message: str) -> ProxyError:
    return ProxyError(HTTPStatus.TOO_MANY_REQUESTS, "too_many", message, {"Retry-After": "5"})


def _as_proxy_error(error: PetridishError) -> ProxyError:
    if isinstance(error, ProxyError):
        return error
    if isinstance(error, UnauthenticatedError):
        status, headers = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, _CHALLENGE
    elif isinstance(error, UnavailableError):
        status, headers = HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": f"{RETRY_AFTER:.0f}"}
    else:
        raise error
    return ProxyError(status, error.code, str(error), headers)


async def _refuse(client: Stream, error: ProxyError, more: Mapping[str, str]) -> None:
    client.writer.write(answer(error, **more))
    await client.writer.drain()
    await client.linger()
