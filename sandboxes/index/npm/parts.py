"""npm's parts put together; they share database, store and policy with Python's."""

from aiohttp import web

from sandboxes.index.book import Book
from sandboxes.index.config import Config
from sandboxes.index.database import Database
from sandboxes.index.gate import Gate
from sandboxes.index.knowledge import Advisor
from sandboxes.index.news import News
from sandboxes.index.npm.audits import Audits
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.packument_answer import PackumentAnswers
from sandboxes.index.npm.packuments import Packuments
from sandboxes.index.npm.routes import NpmRoutes
from sandboxes.index.npm.tarballs import Tarballs
from sandboxes.index.npm.upstream import Registries
from sandboxes.index.storage.leases import Leases
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers
from sandboxes.index.troubles import Troubles


class Npm:
    """Needs a running loop. Without an upstream for npm what is kept is given still."""

    def __init__(
        self, config: Config, database: Database, store: Store, leases: Leases, book: Book, news: News
    ) -> None:
        self._registries = Registries(config.npm_sources)
        self._packuments = Packuments(database, self._registries)
        self._transfers = Transfers(store, self._registries, leases, Troubles(database))
        self._judge = NpmJudge(book, Advisor(database), config.public_url, database, news)
        self._tarballs = Tarballs(database, self._packuments, self._judge, self._transfers, store)
        self._answers = PackumentAnswers(self._packuments, self._judge, config.url)
        self._audits = Audits(database, config.public_url)

    def table(self, gate: Gate) -> list[web.RouteDef]:
        return NpmRoutes(
            gate, self._registries, self._judge, self._answers, self._tarballs, self._audits
        ).table()

    async def close(self) -> None:
        """Before the leases are."""
        await self._tarballs.close()
        await self._transfers.close()
        await self._packuments.close()
        await self._registries.close()
