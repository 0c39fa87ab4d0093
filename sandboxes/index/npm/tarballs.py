"""Tarballs: decided, fetched once by the store's flights, and given.

A packument names no sha256, which is what screening's verdicts and the record of installs go by. So a
tarball that nobody had before is decided once more when it is here, by what it is (`first.py`). From then on
its row says the sha256, and it is given as any other file.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web

from sandboxes.index import holding
from sandboxes.index.candidates import Stated
from sandboxes.index.database import Database
from sandboxes.index.errors import NotGivenError, UnavailableError, UnknownError
from sandboxes.index.file_answer import FileAnswer, connected, unchanged
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.npm.first import FirstAnswer
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.names import Asked, filename_of
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.npm.packuments import Packuments
from sandboxes.index.npm.view import Stored, stated
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.ranges import Span
from sandboxes.index.recorder import Outcome, Received
from sandboxes.index.screening import facts
from sandboxes.index.screening.bringing import Bringing, best, fetched
from sandboxes.index.screening.formers import Former, Formers
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers
from sandboxes.index.upstreams import Sources
from sandboxes.screening.package import Facts

_FIND = """
SELECT sha256, size FROM index_tarball
WHERE package = %(package)s AND version = %(version)s AND integrity = %(integrity)s"""
_KEEP = """
INSERT INTO index_tarball (package, version, integrity, sha256, size, stored_at)
VALUES (%(package)s, %(version)s, %(integrity)s, %(sha256)s, %(size)s, now())
ON CONFLICT (package, version, integrity) DO NOTHING"""

_IN_PLACE: Final = 1000  # versions; more are put in order in a thread

type Note = Callable[[Outcome], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks for a tarball, and how; `note` writes down what comes of it, later than everything else is."""

    request: web.Request
    subject: Subject
    note: Note

    @property
    def plain(self) -> bool:
        """Whether the answer is the file, from its first byte on."""
        return self.request.method == "GET" and "Range" not in self.request.headers

    def present(self) -> bool:
        return connected(self.request)


@dataclass(frozen=True, slots=True)
class Tarball:
    """What a packument says of it. `replaces`: the version that its takes the place of."""

    packument: Packument
    release: Release
    filename: str
    replaces: str

    @property
    def key(self) -> dict[str, str]:
        release = self.release
        return {
            "package": self.packument.name,
            "version": release.version,
            "integrity": release.digest,
        }

    def stated(self, what: Stored | None) -> Stated:
        return stated(self.packument, self.release, self.replaces, what)


class Tarballs:
    def __init__(
        self, database: Database, packuments: Packuments, judge: NpmJudge, transfers: Transfers, store: Store
    ) -> None:
        self._database = database
        self._packuments = packuments
        self._judge = judge
        self._transfers = transfers
        self._store = store
        self._bringing = Bringing(Jobs(database))
        self._formers = Formers(database, store)
        self._hashing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def answer(self, client: Client, asked: Asked, only: Sources) -> FileAnswer | FirstAnswer:
        """What the packument no longer lists is not given, stored or not: npm unpublishes what is bad."""
        tarball = await self._tarball(asked, only)
        what = await self._row(tarball)
        about = tarball.stated(what)
        given = await self._judge.check(client.subject, about)
        blob = Blob(
            tarball.release.digest,
            what.size if what else None,
            tarball.release.url,
            tarball.filename,
            await self._judge.largest(client.subject, about),
            tarball.packument.source,
        )
        if what is None:
            flight = await self._arriving(client, blob, begin=given and client.plain)
            if flight is not None:
                return self._first(client, tarball, blob, flight)
            return await self._from_store(client, tarball, blob)
        return await self._known(client, tarball, blob, what)

    async def _tarball(self, asked: Asked, only: Sources) -> Tarball:
        packument = (await self._packuments.get(asked.name, only)).packument
        release = packument.find(asked.version)
        if release is None:
            raise UnknownError(f"No {asked.filename} in the packument of {asked.name}.")
        if len(packument.releases) > _IN_PLACE:
            await asyncio.to_thread(lambda: packument.replaced)
        return Tarball(packument, release, asked.filename, packument.replaced.get(release.version, ""))

    async def _row(self, tarball: Tarball) -> Stored | None:
        row = await self._database.row(_FIND, tarball.key)
        return Stored(row["sha256"], row["size"]) if row else None

    # Tarballs that nobody had before.

    async def _arriving(self, client: Client, blob: Blob, *, begin: bool) -> Flight | None:
        """The flight to follow; None when the file is stored. `begin`: the answer may begin before that."""
        flight = await self._transfers.join(blob, client.subject.sandbox)
        if flight is None:
            return None
        await flight.opened(client.present)
        if holding.is_small(flight) or not begin:
            await flight.kept(client.present)
            if await self._store.has(blob.sha256):
                return None
        if not begin:
            raise UnavailableError(f"{blob.what} cannot be stored, and is not given unseen; try again later.")
        return flight

    def _first(self, client: Client, tarball: Tarball, blob: Blob, flight: Flight) -> FirstAnswer:
        async def settle(what_it_is: Callable[[], Awaitable[Stored]]) -> None:
            what = await self._what(tarball, what_it_is)
            try:
                given = await self._judge.check(client.subject, tarball.stated(what))
            except NotGivenError as error:
                await client.note(Outcome(refused=error.refusal.rule))
                raise
            if not given:
                raise UnavailableError(f"{tarball.filename} is being screened; try again.")
            received = Received(tarball.release.version, what.sha256, what.size)
            await client.note(Outcome(received=received, later=True))

        async def stored() -> FileAnswer:
            await settle(partial(self._hash, blob.sha256))
            size = await self._store.size(blob.sha256) or 0
            what = await self._what(tarball, partial(self._hash, blob.sha256))
            check = partial(self._judge.check, client.subject, tarball.stated(what))
            return FileAnswer(blob, size, self._store, None, None, self._refetch(client, blob), check)

        return FirstAnswer(blob, flight, settle, stored)

    async def _from_store(self, client: Client, tarball: Tarball, blob: Blob) -> FileAnswer:
        what = await self._what(tarball, partial(self._hash, blob.sha256))
        return await self._known(client, tarball, blob, what)

    async def _what(self, tarball: Tarball, what_it_is: Callable[[], Awaitable[Stored]]) -> Stored:
        """Found out once, however many had it at the same time."""
        lock = self._hashing.setdefault(tarball.release.digest, asyncio.Lock())
        async with lock:
            what = await self._row(tarball)
            if what is None:
                what = await what_it_is()
                values = {"sha256": what.sha256, "size": what.size}
                await self._database.rows(_KEEP, tarball.key | values)
        return what

    async def _hash(self, digest: str) -> Stored:
        """Of what is stored."""
        size, sha256 = await self._store.size(digest) or 0, hashlib.sha256()
        async for piece in self._store.place.stream(digest, Span(0, size)):
            sha256.update(piece)
        return Stored(sha256.hexdigest(), size)

    # Tarballs whose sha256 is known, stored or not.

    async def _known(self, client: Client, tarball: Tarball, blob: Blob, what: Stored) -> FileAnswer:
        about = tarball.stated(what)
        if not await self._judge.check(client.subject, about):
            await self._on_hold(client, tarball, what, blob)
        flight = await self._under_way(client, blob)
        if flight is not None and not await self._judge.check(client.subject, about):
            # It may have waited for as long as a download takes: what was decided since holds for it too.
            raise UnavailableError(f"{tarball.filename} is being screened; try again.")
        given = client.request.method == "GET"
        received = Received(tarball.release.version, what.sha256, what.size) if given else None
        refetch = self._refetch(client, blob)
        check = partial(self._judge.check, client.subject, about)
        return FileAnswer(blob, what.size, self._store, flight, received, refetch, check)

    def _refetch(self, client: Client, blob: Blob) -> Callable[[], Awaitable[Flight | None]]:
        return partial(self._transfers.join, blob, client.subject.sandbox)

    async def _on_hold(self, client: Client, tarball: Tarball, what: Stored, blob: Blob) -> None:
        """Fetches the file meanwhile, so there is something to screen, and gives none of it away."""
        flight = await self._transfers.join(blob, client.subject.sandbox)
        verdict = self._judge.wait(client.subject, tarball.stated(what))
        await holding.on_hold(verdict, flight, client.present, partial(self._screen, tarball, what))

    async def _screen(self, tarball: Tarball, what: Stored) -> None:
        if await self._store.has(tarball.release.digest):
            said = await facts.of_release(tarball.packument, tarball.release)
            await self._bringing.want(what.sha256, said, partial(self._bring, tarball.packument, said))

    async def _bring(self, packument: Packument, said: Facts) -> bool:
        """An earlier release, to compare with: see `bringing.py`."""
        if await self._formers.of(said) is not None:
            return False
        found = [Former("", each.digest, each.digest, each.version) for each in packument.releases]
        uploaded = {each.version: each.published or "" for each in packument.releases}
        former = await asyncio.to_thread(best, said, found, uploaded)  # of thousands
        release = packument.find(former.version) if former else None
        if release is None:
            return False
        filename = filename_of(packument.name, release.version)
        blob = Blob(release.digest, None, release.url, filename, source=packument.source)
        came = await fetched(self._transfers, blob)
        if await self._store.has(release.digest):
            before = Tarball(packument, release, filename, "")
            await self._what(before, partial(self._hash, release.digest))
        return came

    async def close(self) -> None:
        await self._bringing.close()

    async def _under_way(self, client: Client, blob: Blob) -> Flight | None:
        """The flight to follow; None when the file is stored or no bytes will leave."""
        if client.request.method == "HEAD" or unchanged(client.request, blob):
            return None
        flight = await self._transfers.join(blob, client.subject.sandbox)
        if flight is not None:
            await holding.far_enough(flight, client.present, stored=not client.plain)
        return flight
