"""`python -m sandboxes.index.screening [READY_FILE]`: screens what the index stored, until SIGTERM or Ctrl-C.

One runs beside each storage: where the index keeps files in a folder, on each of its hosts; with a bucket, one or more
anywhere. READY_FILE is touched when it is at work.
"""

import asyncio
import logging
import signal
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from sandboxes.errors import InvalidInputError, TemporaryError
from sandboxes.index.database import Database
from sandboxes.index.listener import Listener
from sandboxes.index.screening import jobs as job_rows
from sandboxes.index.screening.again import Again
from sandboxes.index.screening.config import Config, read
from sandboxes.index.screening.formers import Formers
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.material import Material, Scratch
from sandboxes.index.screening.rules import Rules
from sandboxes.index.screening.screener import Screener, sweep
from sandboxes.index.screening.verdicts import Verdicts
from sandboxes.index.storage.bucket import Bucket
from sandboxes.index.storage.folder import Folder
from sandboxes.screening import environment, scanner
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner import Scanners

logger = logging.getLogger("sandboxes.index.screening")

_LISTEN: Final = 5.0  # seconds; a connection that broke is made anew then


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if len(sys.argv) > 2:
        sys.stderr.write("Give the file to touch when at work, or nothing.\n")
        return 2
    try:
        asyncio.run(_serve(read(), Path(sys.argv[1]) if len(sys.argv) == 2 else None))
    except (InvalidInputError, OSError) as error:
        sys.stderr.write(f"Screening cannot start: {error}\n")
        return 1
    return 0


async def _serve(settings: Config, ready: Path | None) -> None:
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    working = asyncio.create_task(_work(settings, ready))
    ending = asyncio.create_task(end.wait())
    await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _work(settings: Config, ready: Path | None) -> None:
    """Until cancelled: then what is under way is given back, for the next one to do."""
    database, scanners = Database(settings.database_url), Scanners(settings.processes)
    place = Bucket(settings.storage, redirect=False) if settings.storage else Folder(settings.folder)
    scratch = Scratch(settings.folder / "screening")
    settings.folder.mkdir(parents=True, exist_ok=True)
    place.open()
    scratch.open()
    await database.open()
    jobs, verdicts, material = Jobs(database), Verdicts(database), Material(place, scratch)
    formers = Formers(database, material)
    rules = Rules(database, scanners, environment.rules_folder())
    screener = Screener(
        jobs, verdicts, material, formers, scanners.scan, scanner.VERSION, lambda: rules.digest
    )
    listener = Listener(settings.database_url, {job_rows.CHANNEL: screener.tell})
    again = Again(database, jobs, material, rules, scanner.VERSION)
    try:
        await rules.look()
        await _warm(scanners, settings.processes, scratch.folder / "nothing")
        async with asyncio.TaskGroup() as group:
            group.create_task(_listen(listener))
            group.create_task(rules.follow())
            group.create_task(screener.run(settings.processes))
            group.create_task(sweep(jobs, verdicts, again.some, screener))
            if ready is not None:
                await asyncio.to_thread(ready.touch)
            logger.info("screening with %d processes", settings.processes)
    finally:
        await listener.close()
        await scanners.close()
        await database.close()
        scratch.close()


async def _warm(scanners: Scanners, count: int, path: Path) -> None:
    """Each child scans an empty wheel: the first who waits is not to wait for rules to be compiled as well."""
    with zipfile.ZipFile(path, "w"):
        pass
    facts = Facts(filename="nothing-0-py3-none-any.whl")
    try:
        await asyncio.gather(*(scanners.scan(path, facts) for _ in range(count)))
    except TemporaryError as error:
        logger.error("nothing can be scanned now: %s", error)
    finally:
        await asyncio.to_thread(path.unlink)


async def _listen(listener: Listener) -> None:
    while True:
        await listener.wait(_LISTEN)


if __name__ == "__main__":
    sys.exit(main())
