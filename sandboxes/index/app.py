"""Puts the parts together: one aiohttp application, its start and its end."""

from collections.abc import AsyncIterator

from aiohttp import web

from sandboxes.index import news
from sandboxes.index.answers import Answers
from sandboxes.index.book import Book
from sandboxes.index.config import Config
from sandboxes.index.database import Database
from sandboxes.index.extraction import Extraction
from sandboxes.index.files import Files
from sandboxes.index.gate import Gate
from sandboxes.index.honey import Honey
from sandboxes.index.identity import Identities
from sandboxes.index.judge import Judge
from sandboxes.index.knowledge import Advisor
from sandboxes.index.listener import Listener
from sandboxes.index.news import News
from sandboxes.index.npm.parts import Npm
from sandboxes.index.osv_api import OsvApi
from sandboxes.index.problems import problems
from sandboxes.index.projects import Projects
from sandboxes.index.provenance import Provenances
from sandboxes.index.quick import Quick
from sandboxes.index.recorder import Recorder
from sandboxes.index.returns import Returns
from sandboxes.index.routes import Routes
from sandboxes.index.screening.bringing import Beside
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.ssh_door import Door
from sandboxes.index.storage.leases import Leases
from sandboxes.index.store import Store
from sandboxes.index.tally import Tally
from sandboxes.index.transfers import Transfers
from sandboxes.index.troubles import Troubles
from sandboxes.index.upstreams import Upstreams
from sandboxes.index.wheel_origin import WheelOrigin

QUICK = web.AppKey("quick", Quick)
DOOR = web.AppKey("door", Door)


async def make_app(config: Config, gate: Gate | None = None) -> web.Application:
    """The application, all parts made; nothing is opened before it starts. Needs a running loop.

    `gate` is for others than sandboxes (`prefetch.py`).
    """
    database = Database(config.database_url)
    store = Store(
        config.folder, storage=config.storage, redirect=config.storage_redirect, most=config.storage_max
    )
    upstream = Upstreams(config.sources)
    projects = Projects(database, upstream, store.turns)
    leases = Leases(config.database_url)
    origin = WheelOrigin(store, upstream)
    transfers = Transfers(store, origin, leases, Troubles(database))
    verdicts = News()
    book = Book(database.apart(), Listener(config.database_url, {news.CHANNEL: verdicts.tell}))
    judge = Judge(book, Advisor(database), config.public_url, Returns(database), verdicts)
    extraction = Extraction(database, store, projects, origin, transfers)
    files = Files(database, store, projects, upstream)
    beside = Beside(database, store, files, transfers)
    answers = Answers(
        judge, projects, files, transfers, store, extraction, Jobs(database), beside, config.url
    )
    npm = Npm(config, database, store, leases, book, verdicts)
    recorder, tally = Recorder(database.apart()), Tally(database)
    quick = Quick(book, tally)
    gate = gate or Gate(Identities(database.apart()), recorder, quick)

    async def opened(app: web.Application) -> AsyncIterator[None]:
        """Handlers have ended, or were cut, when the second half runs."""
        store.open()
        leases.open(store.place.identity())
        await database.open()
        book.open()
        yield
        await recorder.close()
        await tally.close()
        await extraction.close()
        await answers.close()
        await book.close()
        await files.close()
        await transfers.close()
        await npm.close()
        await leases.close()
        await projects.close()
        await upstream.close()
        await database.close()
        store.close()

    app = web.Application(middlewares=[problems])
    app.add_routes(Routes(gate, answers, Provenances(projects, judge, upstream), database).table())
    app.add_routes(npm.table(gate))
    honey = Honey(database)
    app.add_routes(honey.table())
    app.add_routes(OsvApi(gate, database).table())
    app.cleanup_ctx.append(opened)
    app[QUICK] = quick
    app[DOOR] = Door(honey)
    return app
