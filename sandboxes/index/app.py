"""Puts the parts together: one aiohttp application, its start and its end."""

from collections.abc import AsyncIterator

from aiohttp import web

from sandboxes.index.answers import Answers
from sandboxes.index.config import Config
from sandboxes.index.database import Database
from sandboxes.index.files import Files
from sandboxes.index.gate import Gate
from sandboxes.index.identity import Identities
from sandboxes.index.problems import problems
from sandboxes.index.projects import Projects
from sandboxes.index.recorder import Recorder
from sandboxes.index.routes import Routes
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers
from sandboxes.index.upstream import Upstream


async def make_app(config: Config) -> web.Application:
    """The application, all parts made; nothing is opened before it starts. Needs a running loop."""
    database = Database(config.database_url)
    store = Store(config.folder)
    upstream = Upstream(config.upstream)
    projects = Projects(database, upstream)
    transfers = Transfers(store, upstream)
    answers = Answers(projects, Files(database, store, projects), transfers, store)
    gate = Gate(Identities(database), Recorder(database))

    async def opened(app: web.Application) -> AsyncIterator[None]:
        """Handlers have ended, or were cut, when the second half runs."""
        store.open()
        await database.open()
        yield
        await transfers.close()
        await projects.close()
        await upstream.close()
        await database.close()

    app = web.Application(middlewares=[problems])
    app.add_routes(Routes(gate, answers, database).table())
    app.cleanup_ctx.append(opened)
    return app
