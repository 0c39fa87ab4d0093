"""`python -m sandboxes.index.egress`: tunnels until SIGTERM or Ctrl-C, which cuts them."""

import asyncio
import logging
import resource
import signal
import sys

from sandboxes.errors import InvalidInputError
from sandboxes.index.database import Database
from sandboxes.index.egress import config
from sandboxes.index.egress.addresses import Addresses
from sandboxes.index.egress.proxy import CONNECTIONS, Proxy
from sandboxes.index.egress.records import Records
from sandboxes.index.egress.watch import Watch

logger = logging.getLogger("sandboxes.index.egress")

_GRACE = 3.0  # seconds for the ends of tunnels to be written down
_FILES = 4 * CONNECTIONS  # two sockets each, and room to refuse


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = config.read()
        _more_files()
        asyncio.run(serve(settings))
    except (InvalidInputError, OSError) as error:
        sys.stderr.write(f"The egress proxy cannot start: {error}\n")
        return 1
    return 0


async def serve(settings: config.Config) -> None:
    """Until a signal; then nothing new, and what is open is cut and written down."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = Database(settings.database_url)
    await database.open()
    watch = Watch(Records(database))
    proxy = Proxy(database, Addresses(settings.inside), watch, settings.public_url)
    server = await asyncio.start_server(proxy.serve, settings.bind, settings.port)
    logger.info("egress proxy on %s:%s", settings.bind, settings.port)
    watching = asyncio.create_task(watch.run())
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait((watching, waiting), return_when=asyncio.FIRST_COMPLETED)
    server.close()
    watch.cut_all()
    await proxy.rest(_GRACE)
    for task in (watching, waiting):
        task.cancel()
    await database.close()


def _more_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
