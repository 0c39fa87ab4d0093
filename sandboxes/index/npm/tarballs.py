"""Tarballs: decided, fetched once by the store's flights, and given.

A packument names no sha256, which is what screening's verdicts and the record of installs go by. So a
tarball that nobody had before is fetched whole, verified by the packument's integrity and hashed before the
first byte leaves; then it is decided once more, by what it is. From then on its row says the sha256, and it
is sent as any stored file.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any, BinaryIO, Final

from aiohttp import web

from sandboxes.index.candidates import Stated
from sandboxes.index.database import Database
from sandboxes.index.errors import UnavailableError, UnknownError
from sandboxes.index.file_answer import FileAnswer, connected
from sandboxes.index.flight import Blob
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.names import Asked
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.npm.packuments import Packuments
from sandboxes.index.npm.view import Stored, replacements, stated
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.ranges import Span
from sandboxes.index.recorder import Received
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers

_FIND = """
SELECT sha256, size FROM index_tarball
WHERE package = %(package)s AND version = %(version)s AND integrity = %(integrity)s"""
_KEEP = """
INSERT INTO index_tarball (package, version, integrity, sha256, size, stored_at)
VALUES (%(package)s, %(version)s, %(integrity)s, %(sha256)s, %(size)s, now())
ON CONFLICT (package, version, integrity) DO NOTHING"""
_BLOCK: Final = 1024 * 1024


class Tarballs:
    def __init__(
        self, database: Database, packuments: Packuments, judge: NpmJudge, transfers: Transfers, store: Store
    ) -> None:
        self._database = database
        self._packuments = packuments
        self._judge = judge
        self._transfers = transfers
        self._store = store

    async def answer(self, request: web.Request, asked: Asked, subject: Subject) -> FileAnswer:
        """What the packument no longer lists is not given, stored or not: npm unpublishes what is bad."""
        packument = (await self._packuments.get(asked.name)).packument
        release = packument.find(asked.version)
        if release is None:
            raise UnknownError(f"No {asked.filename} in the packument of {asked.name}.")
        key = {"package": asked.name, "version": asked.version, "integrity": release.digest}
        row = await self._database.row(_FIND, key)
        before = replacements(packument).get(release.version, "")
        await self._judge.check(subject, _stated(packument, release, before, row))
        await self._fetch(request, release, asked.filename, subject.sandbox)
        if row is None:
            row = await self._hash(release)
            await self._database.rows(_KEEP, key | row)
        about = _stated(packument, release, before, row)
        if not await self._judge.check(subject, about):
            await self._judge.wait(subject, about)
        received = Received(asked.version, row["sha256"], row["size"]) if request.method == "GET" else None
        blob = Blob(release.digest, row["size"], release.url, asked.filename)
        return FileAnswer(blob, row["size"], self._store, None, received)

    async def _fetch(self, request: web.Request, release: Release, filename: str, sandbox: int) -> None:
        blob = Blob(release.digest, None, release.url, filename)
        flight = await self._transfers.join(blob, sandbox)
        if flight is not None:
            await flight.kept(partial(connected, request))
        if not await self._store.has(release.digest):
            raise UnavailableError(
                f"{filename} cannot be stored, and is not given unstored; try again later."
            )

    async def _hash(self, release: Release) -> dict[str, Any]:
        size = await self._store.size(release.digest) or 0
        file = self._store.place.file(release.digest)
        if file is not None:
            with file:
                return {"sha256": await asyncio.to_thread(_sha256, file), "size": size}
        digest = hashlib.sha256()
        async for piece in self._store.place.stream(release.digest, Span(0, size)):
            digest.update(piece)
        return {"sha256": digest.hexdigest(), "size": size}


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _stated(packument: Packument, release: Release, before: str, row: Mapping[str, Any] | None) -> Stated:
    return stated(packument, release, before, Stored(row["sha256"], row["size"]) if row else None)
