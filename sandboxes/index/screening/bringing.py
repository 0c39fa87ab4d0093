"""Brings what a new file is to be compared with, if the storage has none of it, before the file is screened.

Who is the first to fetch a project would else have it compared with nothing. So an earlier release is fetched as a
client's file would be, and its own sources for a wheel; both are the index's own: no install, given to nobody by that,
and screened by themselves once somebody wants them. A file waits for it a little while only. When it comes later, the
file is screened again, and that verdict counts at once.

The earlier release is no younger than `_SETTLED` before the file, if there is such a one: who steals an account
publishes several in a row.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from sandboxes.errors import PetridishError
from sandboxes.index.database import Database
from sandboxes.index.files import Files, Wanted
from sandboxes.index.flight import Blob
from sandboxes.index.page import File, Page
from sandboxes.index.screening.formers import Former, Formers, Has, by_likeness, earlier
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.transfers import Transfers
from sandboxes.index.upstreams import Sources
from sandboxes.screening.package import Facts

logger = logging.getLogger(__name__)

LARGEST: Final = 64 * 1024 * 1024  # bytes of a file that is fetched for this
OURS: Final = 0  # the sandbox that it is fetched for: none
_WAIT: Final = 6.0  # seconds that a file waits for it; who asked for the file is told to come back after ten
_ONCE: Final = 600.0  # seconds in which it is tried once
_MOST: Final = 32  # files for which something is brought at the same time
_REMEMBERED: Final = 10_000
_SETTLED: Final = timedelta(days=7)
_LATER: Final = 60  # times, a second apart, that a scan which began without it is waited for

type Bring = Callable[[], Awaitable[bool]]


class Bringing:
    """For one way of fetching; `close` it while its transfers and its database are open."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._running: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._tried: dict[str, float] = {}

    async def want(self, sha256: str, facts: Facts, bring: Bring) -> None:
        """Has a stored file screened. `bring` says whether it brought anything. Raises `UnavailableError`."""
        if sha256 not in self._running and self._is_new(sha256) and len(self._running) < _MOST:
            until = monotonic() + _WAIT
            self._running[sha256] = until, asyncio.create_task(self._brought(sha256, facts, bring, until))
        if sha256 in self._running:
            until, task = self._running[sha256]
            await asyncio.wait([task], timeout=max(0.0, until - monotonic()))
        await self._jobs.want(sha256, facts)

    def _is_new(self, sha256: str) -> bool:
        now = monotonic()
        if len(self._tried) >= _REMEMBERED:
            self._tried = {each: at for each, at in self._tried.items() if now < at + _ONCE}
        if now < self._tried.get(sha256, -_ONCE) + _ONCE:
            return False
        self._tried[sha256] = now
        return True

    async def _brought(self, sha256: str, facts: Facts, bring: Bring, until: float) -> None:
        try:
            came = await bring()
            if not came or monotonic() < until:
                return
            for _ in range(_LATER):
                if await self._jobs.again(sha256, facts, 0):
                    return
                await asyncio.sleep(1.0)
        except PetridishError as error:
            logger.info("nothing is there to compare %s with: %s", facts.filename, error)
        except Exception:
            logger.exception("nothing could be fetched to compare %s with", facts.filename)
        finally:
            del self._running[sha256]

    async def close(self) -> None:
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Beside:
    """Of Python's pages."""

    def __init__(self, database: Database, store: Has, files: Files, transfers: Transfers) -> None:
        self._formers = Formers(database, store)
        self._files = files
        self._transfers = transfers

    async def bring(self, page: Page, facts: Facts, only: Sources) -> bool:
        """Whether anything came. Raises `PetridishError`."""
        files = {file.sha256: file for file in page.files if _is_usable(file)}
        formers = [Former(file.filename, file.sha256, file.sha256, file.version) for file in files.values()]
        wanted = []
        if await self._formers.of(facts) is None:
            uploaded = {file.version: file.upload_time or "" for file in files.values()}
            wanted.append(await asyncio.to_thread(best, facts, formers, uploaded))  # of thousands
        if await self._formers.sources(facts) is None:
            wanted.append(sources_of(facts, formers))
        came = [await self._fetched(page.project, files[former.sha256], only) for former in wanted if former]
        return any(came)

    async def _fetched(self, project: str, file: File, only: Sources) -> bool:
        _, blob = await self._files.find(Wanted(project, file.filename, file.sha256), only)
        return await fetched(self._transfers, blob)


async def fetched(transfers: Transfers, blob: Blob) -> bool:
    """Whether it had to be. Raises `PetridishError`."""
    flight = await transfers.join(replace(blob, largest=LARGEST), OURS)
    if flight is None:
        return False
    await flight.kept(_always)
    return True


def best(facts: Facts, found: Sequence[Former], uploaded: Mapping[str, str]) -> Former | None:
    """The file to compare with, of all that there are. `uploaded`: when each version was."""
    releases = [by_likeness(facts.filename, release)[0] for release in earlier(facts, found)]
    settled = (each for each in releases if _is_settled(uploaded.get(each.version, ""), facts.uploaded_at))
    return next(settled, releases[0] if releases else None)


def sources_of(facts: Facts, found: Sequence[Former]) -> Former | None:
    if not facts.filename.endswith(".whl"):
        return None
    sources = (each for each in found if not each.filename.endswith(".whl"))
    return next((each for each in sources if each.version == facts.version), None)


def _is_settled(uploaded: str, later: str) -> bool:
    """Whether it had been there for a while, as far as their pages say."""
    try:
        return datetime.fromisoformat(uploaded) + _SETTLED <= datetime.fromisoformat(later)
    except (ValueError, TypeError, OverflowError):
        return False


def _is_usable(file: File) -> bool:
    return file.yanked is False and (file.size is None or file.size <= LARGEST)


def _always() -> bool:
    return True
