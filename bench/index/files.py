"""Files through the index: a stampede on a cold one, and warm ones beside nginx's static files.

    .venv/bin/python -m bench.index.files [--rounds 5] [--megabytes 20] [--clients 50] [--away 80] [--rate 20]

Policy, identity and recording are on in every figure. The index, nginx (one worker), the upstream, PostgreSQL
and the client are processes that share this machine. The upstream is --away milliseconds from each request to
its answer, and one file comes with --rate MB/s from it (0: as fast as it can). Turns of us and of nginx
alternate; told are medians. In a stampede each round has a file of its own, whose project page is known;
"lone" is one client of another cold file of that size. "First byte" is of the body, on a new connection. CPU
time is told too, because other load on the machine changes it little.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import psutil

from bench.index import client
from bench.index.client import Get, request_of
from bench.index.nginx import nginx
from bench.world import free_port, installation, load, say

_TOKEN = "bench-token"  # noqa: S105 -- of an installation that lives for a minute
_SMALL, _MIDDLE, _LARGE = 30_000, 1_000_000, 200_000_000


@dataclass(frozen=True)
class World:
    index: int  # ports
    upstream: int
    static: int | None
    proxy: int | None
    process: psutil.Process
    nginx: psutil.Process | None
    packages: Path
    authorization: str

    def path(self, file: Path) -> str:
        with file.open("rb") as data:
            sha256 = hashlib.file_digest(data, "sha256").hexdigest()
        return f"/files/{file.parent.name}/{sha256}/{file.name}"

    def request(self, file: Path) -> bytes:
        return request_of(self.path(file), self.authorization)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=20, help="of the file in the stampede")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--away", type=int, default=80, help="milliseconds")
    parser.add_argument("--rate", type=float, default=20.0, help="MB/s")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn with warm files")
    parser.add_argument("--large", type=int, default=_LARGE, help="bytes of the largest file")
    options = parser.parse_args()
    with installation() as folder:
        return run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> int:
    with world(options, folder) as made:
        say(f"{load()}; upstream {options.away} ms away, {options.rate:g} MB/s")
        stampede(options, made)
        if made.static is None:
            say("nginx is not installed: no static files to compare with")
            return 0
        warm(options, made)
        say(f"{load()}; index process: {_memory(made)}")
    return 0


@contextmanager
def world(options: argparse.Namespace, folder: Path) -> Iterator[World]:
    packages = folder / "packages"
    _make_files(packages, options)
    authorization = _sandbox()
    upstream, index = free_port(), free_port()
    with ExitStack() as stack:
        arguments = [str(packages), str(upstream), str(options.away), str(options.rate)]
        stack.enter_context(_process("bench.index.upstream", *arguments))
        ports = stack.enter_context(nginx(folder / "nginx", packages, upstream))
        environ = {"INDEX_UPSTREAM": f"http://127.0.0.1:{upstream}/simple/", "INDEX_PORT": str(index)}
        process = stack.enter_context(_process("sandboxes.index", **environ))
        for port in (upstream, index, *(ports or ())[:2]):
            _wait_for(port)
        yield World(
            index,
            upstream,
            ports[0] if ports else None,
            ports[1] if ports else None,
            psutil.Process(process.pid),
            psutil.Process(ports[2]) if ports else None,
            packages,
            authorization,
        )


def stampede(options: argparse.Namespace, world: World) -> None:
    files = iter(sorted((world.packages / "cold").glob("*.whl")))
    _know_page(world, "cold")
    client.run(world.index, [world.request(next(files))])  # connections are made, code is loaded
    before = world.process.memory_info().rss
    lone, many, proxied_lone, proxied = [], [], [], []
    for _ in range(options.rounds):
        lone.append(client.run(world.index, [world.request(next(files))]))
        file = next(files)
        many.append(client.run(world.index, [world.request(file)] * options.clients))
        _check_fetches(world, file)
        if world.proxy:
            proxied_lone.append(client.run(world.proxy, [_upstream_request(next(files))]))
            proxied.append(client.run(world.proxy, [_upstream_request(next(files))] * options.clients))
    what = f"{options.clients} clients of a cold {options.megabytes} MB file"
    _tell_stampede(f"{what}, index", lone, many)
    grown = (world.process.memory_info().rss - before) / 1e6
    say(f"  1 fetch each; the process grew by {grown:.1f} MB: {_memory(world)}")
    if proxied:
        _tell_stampede(f"{what}, nginx as caching proxy", proxied_lone, proxied)


def _tell_stampede(what: str, lone: list[list[Get]], many: list[list[Get]]) -> None:
    one = statistics.median(get.end for gets in lone for get in gets)
    last = statistics.median(max(get.end for get in gets) for gets in many)
    first = statistics.median(statistics.median(get.first for get in gets) for gets in many)
    lone_first = statistics.median(get.first for gets in lone for get in gets)
    say(
        f"{what}: lone {one:.3f} s (first byte {lone_first:.3f} s), all {last:.3f} s = "
        f"{last / one:.2f} times, median first byte {first:.3f} s"
    )


def _check_fetches(world: World, file: Path) -> None:
    with urlopen(f"http://127.0.0.1:{world.upstream}/count/{file.name}") as answer:
        fetches = int(answer.read())
    if fetches != 1:
        raise SystemExit(f"{file.name} was fetched {fetches} times")


def warm(options: argparse.Namespace, world: World) -> None:
    for name, at_once, unit in (
        ("small", 16, "requests/s"),
        ("middle", 16, "requests/s"),
        ("large", 1, "MB/s"),
        ("large", 4, "MB/s"),
        ("large", 8, "MB/s"),
    ):
        [file] = (world.packages / name).glob("*.whl")
        _know_page(world, name)
        ours, theirs = world.request(file), request_of(f"/{name}/{file.name}")
        client.run(world.index, [ours])
        turns = [
            (
                _turn(world.process, world.index, ours, at_once, options.seconds),
                _turn(world.nginx, world.static or 0, theirs, at_once, options.seconds),
            )
            for _ in range(options.rounds)
        ]
        say(f"{file.stat().st_size:,} bytes, c{at_once}: {_compared(turns, unit)}")


@dataclass(frozen=True)
class Turn:
    requests: float  # a second
    megabytes: float  # a second
    cpu: float  # the server's seconds for a gigabyte


def _compared(turns: list[tuple[Turn, Turn]], unit: str) -> str:
    speeds = [[turn.megabytes if unit == "MB/s" else turn.requests for turn in pair] for pair in turns]
    ratio = statistics.median(ours / theirs for ours, theirs in speeds)
    ours, theirs = (statistics.median(column) for column in zip(*speeds, strict=True))
    cpu = [statistics.median(pair[who].cpu for pair in turns) for who in (0, 1)]
    return (
        f"index {ours:,.0f}, nginx static {theirs:,.0f} {unit}; ratio {ratio:.2f}; "
        f"CPU of the two {cpu[0]:.2f} and {cpu[1]:.2f} s/GB"
    )


def _turn(server: psutil.Process | None, port: int, request: bytes, at_once: int, seconds: float) -> Turn:
    """Whole rounds of all connections, as many as fit into the time."""
    probe = _timed(lambda: client.run(port, [request] * at_once))[0]
    times = max(1, int(seconds / probe))
    before = _cpu(server)
    took, gets = _timed(lambda: client.run(port, [request] * at_once, times))
    size = sum(get.size for get in gets)
    return Turn(len(gets) / took, size / 1e6 / took, (_cpu(server) - before) / (size / 1e9))


def _cpu(server: psutil.Process | None) -> float:
    if server is None:
        return 0.0
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _timed(work: Callable[[], list[Get]]) -> tuple[float, list[Get]]:
    started = time.perf_counter()
    gets = work()
    return time.perf_counter() - started, gets


def _memory(world: World) -> str:
    status = Path(f"/proc/{world.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return f"{world.process.memory_info().rss / 1e6:.0f} MB now, {peak / 1e3:.0f} MB at most"


def _know_page(world: World, project: str) -> None:
    client.run(world.index, [request_of(f"/simple/{project}/", world.authorization)])


def _upstream_request(file: Path) -> bytes:
    return request_of(f"/packages/{file.parent.name}/{file.name}")


def _make_files(packages: Path, options: argparse.Namespace) -> None:
    sizes = {"small": (_SMALL, 1), "middle": (_MIDDLE, 1), "large": (options.large, 1)}
    sizes["cold"] = (options.megabytes * 1_000_000, 1 + 4 * options.rounds)
    for project, (size, count) in sizes.items():
        (packages / project).mkdir(parents=True)
        for number in range(count):
            with (packages / project / f"{project}-{number}.0-py3-none-any.whl").open("wb") as file:
                for start in range(0, size, 1 << 20):
                    file.write(os.urandom(min(1 << 20, size - start)))


def _sandbox() -> str:
    """A ready sandbox's credentials."""
    import aiohttp
    from django.utils import timezone

    from portal.accounts.models import User
    from sandboxes.lifecycle.models import Sandbox

    Sandbox.objects.create(
        name="bench",
        namespace="bench",
        cluster="simulated",
        owner=User.objects.get(username="bench"),
        profile="python",
        data_class="public",
        phase="ready",
        lease=timedelta(hours=1),
        expires_at=timezone.now() + timedelta(hours=1),
        index_token_digest=hashlib.sha256(_TOKEN.encode()).hexdigest(),
    )
    return aiohttp.encode_basic_auth("bench", _TOKEN)


@contextmanager
def _process(module: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, env=os.environ | environ, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    import socket

    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


if __name__ == "__main__":
    sys.exit(main())
