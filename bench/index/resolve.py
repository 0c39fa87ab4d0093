"""uv installing 41 wheels that depend on each other: cold beside no proxy at all, warm beside nginx as caching proxy.

    .venv/bin/python -m bench.index.resolve [--rounds 5] [--away 80] [--rate 20] [--peers all|none|NAME,NAME]

Policy, identity and recording are on in every figure of ours, and in none of the others'. uv keeps nothing
(`--no-cache`) and installs into a folder of its own each time. The index (two workers), nginx (one), the peers, the
upstream, PostgreSQL and uv are processes that share this machine. The upstream is --away milliseconds from each
request to its answer, and one file comes with --rate MB/s from it (0: as fast as it can). In a cold turn nobody has
seen the round's 41 projects; in a warm one everybody has. Turns alternate, each round begins with another one; told
are medians, and of ratios the medians of the rounds'.
"""

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from bench.index import aims, running, wheels
from bench.index.aims import Aim
from bench.index.nginx import nginx
from bench.index.peers import NGINX, peers
from bench.world import free_port, installation, load, say
from tests.index.installers import INSTALLERS, Installer

_US, _DIRECT = "index", "no proxy"


@dataclass
class Side:
    """Whom uv is pointed at, and how long it took: of each round its seconds, None when it failed."""

    name: str
    url: str  # without a slash at the end
    process: psutil.Process | None = None
    cold: list[float | None] = field(default_factory=list)
    warm: list[float | None] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--away", type=int, default=80, help="milliseconds")
    parser.add_argument("--rate", type=float, default=20.0, help="MB/s")
    parser.add_argument("--peers", default="all", help="none, all, or names with commas between")
    options = parser.parse_args()
    with installation() as folder:
        return run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> int:
    try:
        uv = INSTALLERS["uv"]()
    except pytest.skip.Exception as error:
        say(f"nothing is measured: {error}")
        return 0
    with world(options, folder) as sides:
        say(f"{load()}; upstream {options.away} ms away, {options.rate:g} MB/s; {folder_size(folder)}")
        _turns(options, folder, uv, sides)
        _tell(sides)
        say(load())
    return 0


def folder_size(folder: Path) -> str:
    sizes = sorted(path.stat().st_size for path in folder.glob("packages/round0-*/*.whl"))
    return f"{len(sizes)} wheels of {sum(sizes) / 1e6:.0f} MB, the middle one {sizes[len(sizes) // 2] / 1e3:.0f} kB"


@contextmanager
def world(options: argparse.Namespace, folder: Path) -> Iterator[list[Side]]:
    packages = folder / "packages"
    # The first set is nobody's figure: uv, the interpreter and everybody's code are loaded by it.
    for name in ("first", *(f"round{number}" for number in range(options.rounds))):
        wheels.make_set(packages, name)
    upstream, index = free_port(), free_port()
    running.sandbox()
    with ExitStack() as stack:
        arguments = [str(packages), str(upstream), str(options.away), str(options.rate)]
        stack.enter_context(running.module("bench.index.upstream", *arguments))
        running.wait_for(upstream)
        for project in packages.iterdir():
            urlopen(f"http://127.0.0.1:{upstream}/prepare/{project.name}").close()
        origin = f"http://127.0.0.1:{upstream}/simple"
        stack.enter_context(running.index(folder, index, f"{origin}/"))
        server = stack.enter_context(nginx(folder / "nginx", packages, upstream))
        chosen = stack.enter_context(peers(with_nginx(options.peers), folder, upstream, server))
        yield [
            Side(_DIRECT, origin),
            Side(_US, running.url(index)),
            *(Side(each.name, each.url.removesuffix("/"), each.process) for each in chosen),
        ]


def with_nginx(chosen: str) -> str:
    """Warm turns are compared with it."""
    if chosen == "none":
        return NGINX
    return chosen if chosen == "all" or NGINX in chosen.split(",") else f"{NGINX},{chosen}"


def _turns(options: argparse.Namespace, folder: Path, uv: Installer, sides: list[Side]) -> None:
    target = folder / "uv"
    for side in sides:
        _installed(uv, target, side, "first")
    for number in range(options.rounds):
        for side in _rotated(sides, number):
            side.cold.append(_installed(uv, target, side, f"round{number}"))
    for number in range(options.rounds):
        for side in _rotated(sides, number):
            side.warm.append(_installed(uv, target, side, "first"))


def _rotated(sides: list[Side], number: int) -> list[Side]:
    start = number % len(sides)
    return [*sides[start:], *sides[:start]]


def _installed(uv: Installer, target: Path, side: Side, name: str) -> float | None:
    """Seconds. What fails ends the benchmark when it is ours or direct; a peer then has no figure."""
    target.mkdir()
    try:
        begin = time.perf_counter()
        result = uv.install(target, side.url, wheels.project_of(name, 0))
        took = time.perf_counter() - begin
        if result.code == 0 and len(result.installed) == wheels.COUNT:
            return took
        if side.process is None:
            raise SystemExit(f"{side.name}: {len(result.installed)} installed\n{result.output}")
        say(f"{side.name} failed: {result.output.strip().splitlines()[-1]}")
        return None
    finally:
        shutil.rmtree(target)
        if side.process is not None:
            running.calm(side.process)


def _tell(sides: list[Side]) -> None:
    found = {side.name: side for side in sides}
    ours, direct, server = found[_US], found[_DIRECT], found.get(NGINX)
    head = ("uv, 41 wheels", "cold", "of no proxy", "warm", "of nginx as caching proxy")
    table = []
    for side in sides:
        cold, warm = _middle(side.cold), _middle(side.warm)
        table.append([side.name, cold, _times(side.cold, direct.cold), warm])
        table[-1].append(_times(side.warm, server.warm) if server else "")
    say(aims.table(head, table))
    rows = [_row("cold, of no proxy", ours.cold, direct.cold, Aim(1.1, 1.0, most=True))]
    if server:
        rows.append(_row("warm, of nginx", ours.warm, server.warm, Aim(1.2, 1.05, most=True)))
    say(aims.table(aims.HEAD, rows))


def _row(what: str, ours: list[float | None], theirs: list[float | None], aim: Aim) -> list[str]:
    found = ratios(ours, theirs)
    spread = f"rounds {min(found):.2f} to {max(found):.2f}" if found else ""
    return aims.row(f"uv, 41 wheels: {what}", statistics.median(found or [float("nan")]), aim, spread)


def ratios(ours: list[float | None], theirs: list[float | None]) -> list[float]:
    """Of the rounds in which both came to their end."""
    pairs = zip(ours, theirs, strict=True)
    return [a / b for a, b in pairs if a is not None and b is not None]


def _times(ours: list[float | None], theirs: list[float | None]) -> str:
    found = ratios(ours, theirs)
    return f"{statistics.median(found):.2f}" if found else "–"


def _middle(took: list[float | None]) -> str:
    found = [each for each in took if each is not None]
    return f"{statistics.median(found):.2f} s" if found else "failed"


if __name__ == "__main__":
    sys.exit(main())
