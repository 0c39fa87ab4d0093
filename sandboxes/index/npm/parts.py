"""npm's parts put together; they share database, store and policy with Python's."""

from contextlib import AbstractAsyncContextManager

from aiohttp import web

from sandboxes.index.book import Book
from sandboxes.index.config import Config
from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError
from sandboxes.index.gate import Gate
from sandboxes.index.knowledge import Advisor
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.packument_answer import PackumentAnswers
from sandboxes.index.npm.packuments import Packuments
from sandboxes.index.npm.routes import NpmRoutes
from sandboxes.index.npm.tarballs import Tarballs
from sandboxes.index.npm.upstream import Registry
from sandboxes.index.storage.leases import Leases
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers
from sandboxes.index.troubles import Troubles
from sandboxes.index.upstream import Download


class Npm:
    """Needs a running loop. Without an upstream for npm what is kept is given still."""

    def __init__(self, config: Config, database: Database, store: Store, leases: Leases, book: Book) -> None:
        self._registry = Registry(config.npm) if config.npm else None
        self._packuments = Packuments(database, self._registry)
        self._transfers = Transfers(store, self._registry or _Nowhere(), leases, Troubles(database))
        self._judge = NpmJudge(book, Advisor(database), config.public_url, database)
        self._tarballs = Tarballs(database, self._packuments, self._judge, self._transfers, store)
        self._answers = PackumentAnswers(self._packuments, self._judge, config.url)

    def table(self, gate: Gate) -> list[web.RouteDef]:
        return NpmRoutes(gate, self._answers, self._tarballs, self._judge).table()

    async def close(self) -> None:
        """Before the leases are."""
        await self._transfers.close()
        await self._packuments.close()
        if self._registry is not None:
            await self._registry.close()


class _Nowhere:
    def file(self, url: str, what: str, source: str) -> AbstractAsyncContextManager[Download]:
        raise UnknownError(f"{what} is not in the store, and the index has no npm upstream.")
