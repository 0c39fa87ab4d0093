"""Files through the index: a stampede on a cold one, and warm ones beside nginx's static files.

    .venv/bin/python -m bench.index.files [--rounds 5] [--megabytes 20] [--clients 50] [--away 80] [--rate 20]
                                          [--peers all|none|NAME,NAME]

Policy, identity and recording are on in every figure of ours. The index (two workers), nginx (one), the peers, the
upstream, PostgreSQL and the client are processes that share this machine. The upstream is --away milliseconds from
each request to its answer, and one file comes with --rate MB/s from it (0: as fast as it can). Turns alternate; told
are medians. In a stampede each round has a file of its own, whose project page is known; "lone" is one client
of another cold file of that size. "First byte" is of the body, on a new connection. CPU time is told too, because
other load on the machine changes it little. Memory is of one worker, the one with most: at its peak in the
stampedes, and how much that is above what it had before them.
"""

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.request import urlopen

import psutil

from bench.index import aims, client, memory, running
from bench.index.aims import Aim
from bench.index.client import Get, request_of
from bench.index.nginx import Nginx, nginx
from bench.index.peers import NGINX, Peer, peers
from bench.world import free_port, installation, load, say

_SMALL, _MIDDLE, _LARGE = 30_000, 1_000_000, 200_000_000


@dataclass(frozen=True)
class World:
    index: int  # ports
    upstream: int
    process: psutil.Process
    nginx: Nginx | None
    peers: list[Peer]
    packages: Path
    authorization: str

    def request(self, file: Path) -> bytes:
        return request_of(f"/files/{file.parent.name}/{_sha256(file)}/{file.name}", self.authorization)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=20, help="of the file in the stampede")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--away", type=int, default=80, help="milliseconds")
    parser.add_argument("--rate", type=float, default=20.0, help="MB/s")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn with warm files")
    parser.add_argument("--large", type=int, default=_LARGE, help="bytes of the largest file")
    parser.add_argument(
        "--peers", default=NGINX, help="in the stampede: none, all, or names with commas between"
    )
    options = parser.parse_args()
    with installation() as folder:
        return run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> int:
    with world(options, folder) as made:
        say(f"{load()}; upstream {options.away} ms away, {options.rate:g} MB/s")
        rows = stampede(options, made)
        if made.nginx is None:
            say("nginx is not installed: no static files to compare with")
        else:
            rows += warm(options, made, made.nginx)
        say(aims.table(aims.HEAD, rows))
        workers = ", ".join(f"{memory.resident(each):.0f} MB" for each in memory.workers(made.process))
        say(f"{load()}; the workers: {workers}; their parent: {memory.resident(made.process):.0f} MB")
    return 0


@contextmanager
def world(options: argparse.Namespace, folder: Path) -> Iterator[World]:
    packages = folder / "packages"
    _make_files(packages, options)
    authorization = running.sandbox()
    upstream, index = free_port(), free_port()
    with ExitStack() as stack:
        arguments = [str(packages), str(upstream), str(options.away), str(options.rate)]
        stack.enter_context(running.module("bench.index.upstream", *arguments))
        running.wait_for(upstream)
        for project in packages.iterdir():
            _asked(upstream, f"/prepare/{project.name}")
        url = f"http://127.0.0.1:{upstream}/simple/"
        process = stack.enter_context(running.index(folder, index, url))
        server = stack.enter_context(nginx(folder / "nginx", packages, upstream))
        others = stack.enter_context(peers(options.peers, folder, upstream, server))
        yield World(index, upstream, process, server, others, packages, authorization)


# --- stampede ------------------------------------------------------------------------------------------------


@dataclass
class Side:
    """Who is asked for cold files, and what came of it."""

    name: str
    port: int
    request: Callable[[Path], bytes]
    process: psutil.Process | None = None
    lone: list[Get] = field(default_factory=list)
    many: list[list[Get]] = field(default_factory=list)
    fetches: list[int] = field(default_factory=list)  # by the upstream's count, of each stampede
    failed: str = ""

    @property
    def alone(self) -> float:
        return statistics.median(get.end for get in self.lone)

    @property
    def last(self) -> float:
        return statistics.median(max(get.end for get in gets) for gets in self.many)

    @property
    def times(self) -> float:
        return self.last / self.alone

    @property
    def first(self) -> float:
        return statistics.median(statistics.median(get.first for get in gets) for gets in self.many)

    def told(self) -> list[str]:
        if self.failed or not self.many:
            return [self.name, self.failed, "", "", "", ""]
        fetches = f"{min(self.fetches)} to {max(self.fetches)}"
        times = [f"{self.alone:.2f} s", f"{self.last:.2f} s", f"{self.times:.2f}", f"{self.first:.2f} s"]
        return [self.name, *times, fetches]


def stampede(options: argparse.Namespace, world: World) -> list[list[str]]:
    files = iter(sorted((world.packages / "cold").glob("*.whl")))
    _know_page(world, "cold")
    client.run(world.index, [world.request(next(files))])  # connections are made, code is loaded
    ours = Side("index", world.index, world.request)
    sides = [ours, *(_side_of(peer) for peer in world.peers)]
    workers = memory.workers(world.process)
    before = [memory.resident(each) for each in workers]
    for each in workers:
        memory.forget_peak(each)
    for _ in range(options.rounds):
        lone, many = next(files), next(files)
        for side in sides:
            _round(side, world, lone, many, options.clients)
    peaks = [memory.peak(each) for each in workers]
    grown = max(peak - had for peak, had in zip(peaks, before, strict=True))
    stayed = max(memory.resident(each) - had for each, had in zip(workers, before, strict=True))
    what = f"{options.clients} clients of a cold {options.megabytes} MB file"
    head = (what, "one lone client", "all", "times", "median first byte", "fetches")
    say(aims.table(head, [side.told() for side in sides]))
    return [
        aims.row(f"{what}: most fetches", max(ours.fetches), Aim(1, 1, most=True)),
        aims.row(f"{what}: times one lone client", ours.times, Aim(1.5, 1.2, most=True)),
        aims.row(f"{what}: median first byte", ours.first, Aim(0.2, 0.12, most=True, unit=" s")),
        aims.row(
            "most that a worker grew in the stampedes",
            grown,
            Aim(10, 4, most=True, unit=" MB"),
            f"{stayed:.1f} MB of it stayed",
        ),
        aims.row("most memory of a worker in them", max(peaks), Aim(120, 80, most=True, unit=" MB")),
    ]


def _side_of(peer: Peer) -> Side:
    return Side(
        peer.name,
        peer.port,
        lambda file: request_of(peer.file(file.parent.name, file.name)),
        None if peer.name == NGINX else peer.process,
    )


def _round(side: Side, world: World, lone: Path, many: Path, clients: int) -> None:
    if side.failed:
        return
    try:
        side.lone += client.run(side.port, [side.request(lone)])
        request, before = side.request(many), _count(world, many)
        side.many.append(client.run(side.port, [request] * clients))
    except (ConnectionError, LookupError) as error:
        if side.name == "index":
            raise
        side.failed = f"failed: {str(error).splitlines()[0]}"
    else:
        side.fetches.append(_count(world, many) - before)
    if side.process is not None:
        running.calm(side.process)


def _count(world: World, file: Path) -> int:
    return int(_asked(world.upstream, f"/count/{file.name}"))


def _asked(upstream: int, path: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{upstream}{path}") as answer:
        said: bytes = answer.read()
    return said


# --- warm ----------------------------------------------------------------------------------------------------


def warm(options: argparse.Namespace, world: World, server: Nginx) -> list[list[str]]:
    rows = []
    for name, at_once, unit, aim in (
        ("small", 16, "requests/s", Aim(0.07, 0.2)),
        ("middle", 16, "requests/s", Aim(0.6, 0.9)),
        ("large", 1, "MB/s", Aim(0.92, 1.0)),
        ("large", 4, "MB/s", Aim(0.92, 1.0)),
        ("large", 8, "MB/s", Aim(0.92, 1.0)),
    ):
        [file] = (world.packages / name).glob("*.whl")
        _know_page(world, name)
        ours, theirs = world.request(file), request_of(f"/{name}/{file.name}")
        client.run(world.index, [ours])
        turns = [
            (
                _turn(world.process, world.index, ours, at_once, options.seconds),
                _turn(server.process, server.static, theirs, at_once, options.seconds),
            )
            for _ in range(options.rounds)
        ]
        ratio, told = _compared(turns, unit)
        rows.append(aims.row(f"warm {file.stat().st_size:,} bytes, c{at_once}, of nginx", ratio, aim, told))
    return rows


@dataclass(frozen=True)
class Turn:
    requests: float  # a second
    megabytes: float  # a second
    cpu: float  # the server's seconds for a gigabyte


def _compared(turns: list[tuple[Turn, Turn]], unit: str) -> tuple[float, str]:
    speeds = [[turn.megabytes if unit == "MB/s" else turn.requests for turn in pair] for pair in turns]
    ratios = [ours / theirs for ours, theirs in speeds]
    ours, theirs = (statistics.median(column) for column in zip(*speeds, strict=True))
    cpu = [statistics.median(pair[who].cpu for pair in turns) for who in (0, 1)]
    return statistics.median(ratios), (
        f"{ours:,.0f} of {theirs:,.0f} {unit}; rounds {min(ratios):.2f} to {max(ratios):.2f}; "
        f"CPU of the two {cpu[0]:.2f} and {cpu[1]:.2f} s/GB"
    )


def _turn(server: psutil.Process, port: int, request: bytes, at_once: int, seconds: float) -> Turn:
    """Whole rounds of all connections, as many as fit into the time."""
    probe = _timed(lambda: client.run(port, [request] * at_once))[0]
    times = max(1, int(seconds / probe))
    before = running.cpu(server)
    took, gets = _timed(lambda: client.run(port, [request] * at_once, times))
    size = sum(get.size for get in gets)
    return Turn(len(gets) / took, size / 1e6 / took, (running.cpu(server) - before) / (size / 1e9))


def _timed(work: Callable[[], list[Get]]) -> tuple[float, list[Get]]:
    started = time.perf_counter()
    gets = work()
    return time.perf_counter() - started, gets


def _know_page(world: World, project: str) -> None:
    client.run(world.index, [request_of(f"/simple/{project}/", world.authorization)])


@cache
def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _make_files(packages: Path, options: argparse.Namespace) -> None:
    sizes = {"small": (_SMALL, 1), "middle": (_MIDDLE, 1), "large": (options.large, 1)}
    sizes["cold"] = (options.megabytes * 1_000_000, 1 + 2 * options.rounds)
    for project, (size, count) in sizes.items():
        (packages / project).mkdir(parents=True)
        for number in range(count):
            with (packages / project / f"{project}-{number}.0-py3-none-any.whl").open("wb") as file:
                for start in range(0, size, 1 << 20):
                    file.write(os.urandom(min(1 << 20, size - start)))


if __name__ == "__main__":
    sys.exit(main())
