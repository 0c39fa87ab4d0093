"""An hour of everything at once, and what it does to the memory of the index's workers.

    .venv/bin/python -m bench.index.hour [--minutes 60] [--workers 2] [--clients 16] [--pace 200]
                                         [--storage 512M]

Policy, identity and recording are on. --clients ask --pace times a second together: pages of several sizes and forms,
known and new ones, 304s, small and large files, known and new ones, ranges, what is refused or does not exist, wrong
tokens, and clients that hang up. There are always 100 sandboxes; each second one ends and another begins. Stored
files have a limit, so some are evicted all the time. Each answer's status is checked. Growth is from the end of the
first tenth, when caches and pools have filled, to the end: a shorter run than an hour shows caches that fill.
"""

import argparse
import asyncio
import itertools
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import aiohttp
import psutil

from bench.index import aims, memory, projects, running
from bench.index.aims import Aim
from bench.world import free_port, installation, load, say

_SANDBOXES = 100
_ENDED_FOR = 6.0  # seconds after which nobody lets an ended sandbox in
_PAGES = {5: 40, 50: 20, 200: 8, 1000: 3, 5000: 1}  # files of a page: how many projects
_SMALL, _LARGE = 30_000, 1_000_000  # bytes of files that are asked for again and again …
_SMALLS, _LARGES = 50, 8  # … and how many of them
_NEW = (20_000, 400_000)  # bytes of files that nobody asked for before
_PATIENCE = 30  # seconds for an answer
_TOLD, _LOOKS = 20, 200  # times that memory is told, and looked at
_JSON = "application/vnd.pypi.simple.v1+json"
_NOISE = 2.0  # MB that memory moves between two looks
_FORMS = (
    {"Accept": _JSON, "Accept-Encoding": "gzip"},
    {"Accept": _JSON, "Accept-Encoding": "gzip, zstd"},
    {"Accept": _JSON},
    {"Accept": "text/html", "Accept-Encoding": "gzip"},
)


@dataclass
class World:
    index: int
    process: psutil.Process
    session: aiohttp.ClientSession
    rng: random.Random
    sandboxes: list[str]  # names
    ended: list[tuple[float, str]] = field(default_factory=list)  # since when, on `monotonic`'s clock
    etags: dict[tuple[str, int], str] = field(default_factory=dict)
    names: Iterator[int] = field(default_factory=itertools.count)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def headers(self, **more: str) -> dict[str, str]:
        """Of some sandbox's request."""
        name = self.rng.choice(self.sandboxes)
        agent = self.rng.choice(("pip/26.0", "uv/0.13.0", "poetry/2.4.0"))
        return {"Authorization": running.authorization(name), "User-Agent": agent} | more

    def told(self, what: str, status: int, expected: tuple[int, ...]) -> None:
        self.statuses[what, status] += 1
        if status not in expected:
            self.wrong.append(f"{what}: {status}")

    async def get(
        self, what: str, path: str, headers: dict[str, str], *expected: int
    ) -> aiohttp.ClientResponse:
        """The whole answer, read and thrown away."""
        try:
            async with self.session.get(f"http://127.0.0.1:{self.index}{path}", headers=headers) as answer:
                async for _ in answer.content.iter_any():
                    pass
        except (aiohttp.ClientError, TimeoutError) as error:
            self.wrong.append(f"{what}: {type(error).__name__} {error} {path}")
            raise
        self.told(what, answer.status, expected)
        return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument(
        "--pace", type=float, default=200.0, help="requests a second; less if they take too long"
    )
    parser.add_argument("--storage", default="512M", help="limit of the stored files")
    options = parser.parse_args()
    with installation() as folder:
        return run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> int:
    upstream, index = free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(
            running.module("bench.index.upstream", str(folder / "none"), str(upstream), "20", "0")
        )
        running.wait_for(upstream)
        environ = {"INDEX_PROCESSES": str(options.workers), "INDEX_STORAGE_MAX": options.storage}
        url = f"http://127.0.0.1:{upstream}/simple/"
        process = stack.enter_context(running.index(folder, index, url, **environ))
        for number in range(_SANDBOXES):
            running.sandbox(f"start{number}")
        return asyncio.run(_run(options, index, process))


async def _run(options: argparse.Namespace, index: int, process: psutil.Process) -> int:
    async with _session() as session:
        names = [f"start{number}" for number in range(_SANDBOXES)]
        world = World(index, process, session, random.Random(1), names)  # noqa: S311 -- no secret
        end = monotonic() + options.minutes * 60
        pace = options.clients / options.pace
        clients = [asyncio.create_task(_client(world, end, pace)) for _ in range(options.clients)]
        changing = asyncio.create_task(_change(world))
        watching = asyncio.create_task(_watch(world, options.minutes * 60))
        try:
            samples = await watching
            await asyncio.gather(*clients)
        finally:
            for task in (*clients, changing, watching):
                task.cancel()
            await asyncio.gather(*clients, changing, watching, return_exceptions=True)
    return _tell(world, samples, options)


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=_PATIENCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        yield session


# --- what is asked -------------------------------------------------------------------------------------------


async def _client(world: World, end: float, pace: float) -> None:
    """One of them: `pace` seconds between its requests, on average."""
    works, weights = list(WORKS), list(WORKS.values())
    while monotonic() < end:
        await asyncio.sleep(world.rng.expovariate(1 / pace))
        work = world.rng.choices(works, weights)[0]
        try:
            await work(world)
        except (aiohttp.ClientError, TimeoutError):
            world.statuses[f"{work.__name__}: broken off", 0] += 1


async def _page(world: World) -> None:
    [size] = world.rng.choices(list(_PAGES), list(_PAGES.values()))
    project, form = f"p{size}-{world.rng.randrange(_PAGES[size])}", world.rng.randrange(len(_FORMS))
    answer = await world.get("page", f"/simple/{project}/", world.headers(**_FORMS[form]), 200)
    if answer.status == 200:
        world.etags[project, form] = answer.headers["ETag"]


async def _unchanged(world: World) -> None:
    if not world.etags:
        return
    project, form = world.rng.choice(list(world.etags))
    headers = world.headers(**_FORMS[form]) | {"If-None-Match": world.etags[project, form]}
    await world.get("page, with etag", f"/simple/{project}/", headers, 304, 200)


async def _new_page(world: World) -> None:
    headers = world.headers(**_FORMS[0])
    await world.get(
        "new page", f"/simple/p{world.rng.choice((5, 50, 200))}-new{next(world.names)}/", headers, 200
    )


async def _no_page(world: World) -> None:
    headers = world.headers(**_FORMS[0])
    await world.get("page of no project", f"/simple/nothing-{world.rng.randrange(5000)}/", headers, 404)


async def _small(world: World) -> None:
    project = f"f{_SMALL}-{world.rng.randrange(_SMALLS)}"
    await world.get("small file", projects.path(project), world.headers(), 200)


async def _large(world: World) -> None:
    project = f"f{_LARGE}-{world.rng.randrange(_LARGES)}"
    await world.get("large file", projects.path(project), world.headers(), 200)


async def _range(world: World) -> None:
    project = f"f{_LARGE}-{world.rng.randrange(_LARGES)}"
    start = world.rng.randrange(_LARGE - 1000)
    span = world.rng.choice((f"bytes={start}-{start + 999}", f"bytes={start}-", "bytes=-500"))
    await world.get("part of a file", projects.path(project), world.headers(Range=span), 206)


async def _new_file(world: World) -> None:
    project = f"f{world.rng.randrange(*_NEW)}-new{next(world.names)}"
    await world.get("new file", projects.path(project), world.headers(), 200)


async def _refused(world: World) -> None:
    """A source distribution, which policy does not give."""
    project = f"f{_SMALL}-{world.rng.randrange(_SMALLS)}"
    name = f"{project.replace('-', '_')}-1.0.tar.gz"
    await world.get("refused file", f"/files/{project}/{'1' * 64}/{name}", world.headers(), 403)


async def _wrong_token(world: World) -> None:
    headers = {"Authorization": running.authorization("start0", "another")}
    await world.get("wrong token", "/simple/p5-0/", headers, 401)


async def _ended(world: World) -> None:
    before = monotonic() - _ENDED_FOR
    names = [name for since, name in world.ended if since < before]
    if names:
        headers = {"Authorization": running.authorization(world.rng.choice(names))}
        await world.get("ended sandbox", "/simple/p5-0/", headers, 401)


async def _hang_up(world: World) -> None:
    """In the middle of a file, or before anything came."""
    large = f"f{_LARGE}-{world.rng.randrange(_LARGES)}"
    path = projects.path(world.rng.choice((large, f"f{_LARGE}-cut{next(world.names)}")))
    if world.rng.random() < 0.5:
        answer = await world.session.get(f"http://127.0.0.1:{world.index}{path}", headers=world.headers())
        world.told("hung up in a file", answer.status, (200,))
        await answer.content.readany()
        answer.close()
        return
    _, writer = await asyncio.open_connection("127.0.0.1", world.index)
    lines = "".join(f"{name}: {value}\r\n" for name, value in world.headers().items())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{lines}\r\n".encode())
    await asyncio.sleep(world.rng.random() * 0.03)
    writer.transport.abort()
    world.statuses["hung up at once", 0] += 1


# Of a hundred requests.
WORKS: dict[Callable[[World], Awaitable[None]], int] = {
    _page: 30,
    _unchanged: 15,
    _new_page: 3,
    _no_page: 3,
    _small: 18,
    _large: 4,
    _range: 8,
    _new_file: 6,
    _refused: 5,
    _wrong_token: 2,
    _ended: 2,
    _hang_up: 4,
}


async def _change(world: World) -> None:
    """Each second one sandbox ends, and another one begins."""
    for number in itertools.count():
        await asyncio.sleep(1)
        old, new = world.sandboxes.pop(0), f"later{number}"
        await asyncio.sleep(0.2)  # what was asked as the old one is answered
        await asyncio.to_thread(_exchange, old, new)
        world.sandboxes.append(new)
        world.ended = [*world.ended[-50:], (monotonic(), old)]


def _exchange(old: str, new: str) -> None:
    from django.db import connection
    from django.utils import timezone

    from sandboxes.lifecycle.models import Sandbox

    try:
        Sandbox.objects.filter(name=old).update(expires_at=timezone.now())
        running.sandbox(new)
    finally:
        connection.close()


# --- what it does --------------------------------------------------------------------------------------------


async def _watch(world: World, seconds: float) -> list[list[float]]:
    """MB of each worker, so often."""
    workers = memory.workers(world.process)
    started, samples = monotonic(), []
    for look in range(1, _LOOKS + 1):
        await asyncio.sleep(max(0.0, started + seconds * look / _LOOKS - monotonic()))
        if memory.workers(world.process) != workers:
            raise SystemExit("a worker died")
        samples.append([memory.resident(each) for each in workers])
        if look % (_LOOKS // _TOLD) == 0:
            had = ", ".join(f"{each:.1f}" for each in samples[-1])
            asked, minutes = sum(world.statuses.values()), (monotonic() - started) / 60
            say(f"{minutes:5.1f} min, {asked:,} requests: {had} MB; {load()}")
    return samples


def _tell(world: World, samples: list[list[float]], options: argparse.Namespace) -> int:
    for (what, status), count in sorted(world.statuses.items()):
        say(f"  {what}, {status or 'no answer'}: {count:,}")
    for what, count in Counter(world.wrong).most_common(10):
        say(f"  NOT AS IT SHOULD BE: {what} ({count:,} times)")
    workers = [list(each) for each in zip(*samples, strict=True)]
    grown = [memory.growth(each) for each in workers]
    half = [memory.growth(each[len(each) // 2 :]) for each in workers]
    most = max(each for one in workers for each in one)
    none = Aim(_NOISE, _NOISE, most=True, unit=" MB")
    told = f"each: {', '.join(f'{each:+.1f}' for each in grown)}; in the second half: "
    told += ", ".join(f"{each:+.1f}" for each in half)
    what = f"growth of a worker in {options.minutes:g} minutes of mixed load"
    rows = [
        aims.row(what, max(grown), none, told),
        aims.row("most memory of a worker in it", most, Aim(120, 80, most=True, unit=" MB")),
    ]
    say(aims.table(aims.HEAD, rows))
    return 1 if world.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
