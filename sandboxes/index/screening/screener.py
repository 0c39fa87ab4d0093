"""Takes jobs and does them, several at a time, until it is cancelled.

Each lane does one job after another. With more than one, the first lane takes only what somebody waits for, so that
a new file never waits for old ones to be scanned again. Jobs whose bytes are not here are passed over for a while:
another host has them, or they were evicted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from msgspec.structs import replace

from sandboxes.errors import PetridishError, TemporaryError
from sandboxes.index.errors import UnavailableError
from sandboxes.index.screening.formers import NOTHING, Compared, Former, Formers
from sandboxes.index.screening.jobs import ATTEMPTS, LEASE, Job, Jobs
from sandboxes.index.screening.material import Material
from sandboxes.index.screening.verdicts import Verdicts
from sandboxes.index.storage.disk import GoneError
from sandboxes.screening.findings import Report
from sandboxes.screening.package import Facts

logger = logging.getLogger(__name__)

_LOOK: Final = 5.0  # seconds between looks for jobs; they are told of as well
_PAUSE: Final = 1.0  # seconds after something that does not answer
_PASSED_OVER: Final = 5.0  # seconds for which a job is left to others
_MOST_PASSED_OVER: Final = 10_000

type Scan = Callable[[Path, Facts, Path | None, Path | None], Awaitable[Report]]


class Screener:
    def __init__(
        self,
        jobs: Jobs,
        verdicts: Verdicts,
        material: Material,
        formers: Formers,
        scan: Scan,
        version: int,
        rules: Callable[[], str],
    ) -> None:
        """What `scan` goes by: `version` of detectors and limits, `rules` the patterns' digest at a time."""
        self._jobs = jobs
        self._verdicts = verdicts
        self._material = material
        self._formers = formers
        self._scan = scan
        self._version = version
        self._rules = rules
        self._passed_over: dict[str, float] = {}  # by sha256: until when, on `monotonic`'s clock
        self._pulse = asyncio.Event()
        self._at_work = 0

    @property
    def idle(self) -> bool:
        return self._at_work == 0

    def tell(self, sha256: str) -> None:
        """There is such a job, or it is free again, or ("") there may be any."""
        self._passed_over.pop(sha256, None)
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    async def run(self, lanes: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(lanes):
                group.create_task(self._lane(urgent=number == 0 and lanes > 1))

    async def _lane(self, *, urgent: bool) -> None:
        while True:
            pulse = self._pulse
            try:
                job = await self._next(urgent=urgent)
            except UnavailableError:  # said in full where it came from
                await asyncio.sleep(_PAUSE)
                continue
            if job is not None:
                await self._work(job)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await pulse.wait()

    async def _next(self, *, urgent: bool) -> Job | None:
        """Leased to us; None: there is none that we could do."""
        while waiting := await self._jobs.waiting(urgent=urgent, passed_over=self._left_to_others()):
            here: dict[str, str] = {}
            for each in waiting:
                if each.given_up or await self._material.has(each.name):
                    here[each.sha256] = each.name
                else:
                    self._pass_over(each.sha256)
            job = await self._jobs.take(here) if here else None
            if job is not None:
                return job
            if here:  # others were faster
                return None
        return None

    def _left_to_others(self) -> list[str]:
        now = monotonic()
        self._passed_over = {each: until for each, until in self._passed_over.items() if now < until}
        return list(self._passed_over)

    def _pass_over(self, sha256: str) -> None:
        if len(self._passed_over) < _MOST_PASSED_OVER:
            self._passed_over[sha256] = monotonic() + _PASSED_OVER

    async def _work(self, job: Job) -> None:
        self._at_work += 1
        keeping = asyncio.create_task(self._keep(job))
        try:
            await self._screen(job)
        except GoneError:
            logger.info("%s was evicted before it was screened", job.facts.filename)
            await self._leave(job)
        except TemporaryError as error:  # the database, the storage, or no scanner can be started
            logger.warning("%s is not screened now: %s", job.facts.filename, error)
            await asyncio.sleep(_PAUSE)
            await self._leave(job)
        except asyncio.CancelledError:
            await self._leave(job)
            raise
        except Exception:  # whatever it was: it is tried again when the lease ends, and counted
            logger.exception("%s could not be screened", job.facts.filename)
        finally:
            keeping.cancel()
            self._at_work -= 1

    async def _leave(self, job: Job) -> None:
        self._pass_over(job.sha256)
        with suppress(UnavailableError):  # then the lease ends by itself
            await self._jobs.give_back(job)

    async def _keep(self, job: Job) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            with suppress(UnavailableError):
                await self._jobs.hold_on(job)

    async def _screen(self, job: Job) -> None:
        if job.attempts > ATTEMPTS:
            report = Report(
                broken=f"screening it was begun {ATTEMPTS} times and never came to an end",
                version=self._version,
                rules=self._rules(),
            )
            await self._verdicts.write(job.sha256, job.facts, report, NOTHING, job)
            return
        async with AsyncExitStack() as files:
            path = await files.enter_async_context(self._material.at_hand(job.name))
            former, before = await self._beside(files, await self._formers.of(job.facts))
            sources, built_from = await self._beside(files, await self._formers.sources(job.facts))
            report = await self._scan(path, job.facts, before, built_from)
        if not report.rules:  # what ended a scanner would do so again, until something else is looked for
            report = replace(report, rules=self._rules())
        compared = Compared(former.sha256 if former else "", sources is not None)
        level = await self._verdicts.write(job.sha256, job.facts, report, compared, job)
        logger.info("%s: %s in %.2f s", job.facts.filename, level, report.seconds)

    async def _beside(
        self, files: AsyncExitStack, former: Former | None
    ) -> tuple[Former, Path] | tuple[None, None]:
        """At hand until `files` is closed, if it is there still."""
        if former is not None:
            with suppress(GoneError):
                return former, await files.enter_async_context(self._material.at_hand(former.name))
        return None, None


async def swept(
    jobs: Jobs, verdicts: Verdicts, more: Callable[[], Awaitable[int]], screener: Screener
) -> None:
    """What is done between jobs: verdicts by the scale of now, older ones again. Raises `PetridishError`."""
    await jobs.drop_orphans()
    while await verdicts.rescale():
        pass
    if screener.idle and not await jobs.any() and await more():
        screener.tell("")


async def sweep(
    jobs: Jobs, verdicts: Verdicts, more: Callable[[], Awaitable[int]], screener: Screener
) -> None:
    """Until cancelled."""
    while True:
        try:
            await swept(jobs, verdicts, more, screener)
        except PetridishError as error:
            logger.warning("nothing is tidied now: %s", error)
        await asyncio.sleep(_LOOK if screener.idle else _PAUSE)
