"""Pages through the index beside nginx's static files of the same bytes, and beside other caching indexes.

    .venv/bin/python -m bench.index.pages [--rounds 5] [--seconds 3] [--peers all|none|NAME,NAME] [--away 80]

Policy, identity and recording are on in every figure of ours, and in none of the others'. The index (two
workers), nginx (one), the peers, the upstream, PostgreSQL and wrk are processes that share this machine. Turns
alternate, and whoever is not measured is idle; told are medians, and of ratios the medians of the rounds'. "CPU" is
that of the index's and of nginx's own processes for a request: wrk takes a part of the two cores, so it
bounds the rates of whoever is fast. "cold" is the first time that a page is asked for, packed and on a kept
connection as pip does, beside the upstream's own answer to the same request; the upstream has its bytes ready.
"""

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from bench.index import aims, client, memory, running
from bench.index.aims import Aim
from bench.index.nginx import Nginx, nginx
from bench.index.peers import Peer, peers
from bench.index.running import calm, cpu
from bench.world import free_port, installation, load, say

_JSON = "application/vnd.pypi.simple.v1+json"
_PIP = f"{_JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
_PATIENCE = 120.0  # seconds
_BIG = 5000  # files of a page for which others need seconds
_BIG_ROUNDS, _BIG_SECONDS = 2, 5  # of the peers' turns with it: how many, and how many times as long
_COLD = 12  # pages of each size
_STAMPEDES, _AT_ONCE = 6, 16
_US, _STATIC = "index", "nginx static"


@dataclass(frozen=True)
class Work:
    name: str
    project: str
    headers: dict[str, str]
    static: Aim  # of nginx's static files
    p99: Aim | None = None  # milliseconds
    proxpi: float = 0.0  # times as many as it

    @property
    def files(self) -> int:
        return int(self.project[1:].partition("-")[0])

    @property
    def unchanged(self) -> bool:
        return "If-None-Match" in self.headers


@dataclass
class Side:
    """Who is measured, and every turn it had: requests a second, and the 99th percentile in milliseconds."""

    name: str
    port: int
    path: str
    headers: dict[str, str]
    process: psutil.Process
    peer: bool = False
    turns: list[tuple[float, float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # microseconds of its own for a request
    failed: str = ""

    @property
    def rates(self) -> list[float]:
        return [rate for rate, _ in self.turns]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--peers", default="all", help="none, all, or names with commas between")
    parser.add_argument("--away", type=int, default=80, help="milliseconds to the upstream")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        say("wrk is not installed: nothing is measured")
        return 0
    with installation() as folder:
        return run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> int:
    authorization = running.sandbox()
    upstream, index = free_port(), free_port()
    static = folder / "static"
    static.mkdir()
    with ExitStack() as stack:
        given = (str(folder / "none"), str(upstream), str(options.away), "0")
        stack.enter_context(running.module("bench.index.upstream", *given))
        running.wait_for(upstream)
        url = f"http://127.0.0.1:{upstream}/simple/"
        process = stack.enter_context(running.index(folder, index, url))
        for project in ("p5-0", "p200-0", f"p{_BIG}-0"):
            _prepare(upstream, project)
        server = stack.enter_context(nginx(folder / "nginx", static, upstream))
        others = stack.enter_context(peers(options.peers, folder, upstream, server))
        say(
            f"{load()}; upstream {options.away} ms away; {', '.join(each.name for each in others) or 'no peers'}"
        )
        rows = [*cold(index, upstream, authorization), *stampede(index, upstream, authorization)]
        say(aims.table(aims.HEAD, rows))
        table = []
        for work in _works(index, authorization):
            sides = _sides(work, index, process, server, static, others)
            _measure(options, sides, work)
            table.append(_told(work, sides))
            say(f"{load()}; {' | '.join(table[-1])}")
        names = [each.name for each in others]
        head = ["work, c16", _US, "p99", "aim; dream", "", _STATIC, "ratio", "aim; dream", "", "CPU", *names]
        say(aims.table(head, table))
        told = ", ".join(f"{memory.resident(each):.0f} MB" for each in memory.workers(process))
        say(f"{load()}; the workers: {told}")
    return 0


# --- cold ----------------------------------------------------------------------------------------------------


def cold(index: int, upstream: int, authorization: str) -> Iterator[list[str]]:
    """Ours and the upstream's own answer in turns, each on its kept connection."""
    theirs = {"Accept": _PIP, "Accept-Encoding": "gzip", "User-Agent": "bench/1.0"}
    ours = theirs | {"Authorization": authorization}
    with closing(_connection(upstream)) as direct, closing(_connection(index)) as through:
        for size, aim in ((50, Aim(3, 1, most=True, unit=" ms")), (1000, Aim(15, 5, most=True, unit=" ms"))):
            over, answers = [], []
            for number in range(-2, _COLD):  # the first two only make connections, and load code
                project = f"p{size}-cold{number + 2}"
                _prepare(upstream, project)
                path = f"/simple/{project}/"
                answer, before = _timed(direct, path, theirs), _count(upstream, project)
                took = _timed(through, path, ours)
                if (fetched := _count(upstream, project) - before) != 1:
                    raise SystemExit(f"{project} was asked for {fetched} times upstream")
                if number >= 0:
                    over.append(took - answer)
                    answers.append(answer)
            spread = f"{min(over) * 1000:.1f} to {max(over) * 1000:.1f}"
            told = f"one upstream request each, answered in {statistics.median(answers) * 1000:.1f} ms; {spread} over"
            yield aims.row(
                f"cold page of {size} files, over direct", statistics.median(over) * 1000, aim, told
            )


def stampede(index: int, upstream: int, authorization: str) -> Iterator[list[str]]:
    """So many clients of one cold page at once, spread over the workers."""
    asked, first, last = [], [], []
    for number in range(_STAMPEDES):
        project = f"p200-stampede{number}"
        _prepare(upstream, project)
        request = client.request_of(f"/simple/{project}/", authorization, Accept=_PIP, Accept_Encoding="gzip")
        gets = client.run(index, [request] * _AT_ONCE)
        asked.append(_count(upstream, project))
        first.append(min(get.end for get in gets))
        last.append(max(get.end for get in gets))
    told = f"first {statistics.median(first) * 1000:.0f} ms, last {statistics.median(last) * 1000:.0f} ms; {asked}"
    what = f"{_AT_ONCE} clients of a cold page of 200 files: most upstream requests"
    yield aims.row(what, max(asked), Aim(1, 1, most=True), told)


def _prepare(upstream: int, project: str) -> None:
    with closing(_connection(upstream)) as connection:
        _get(connection, f"/prepare/{project}", {})


def _count(upstream: int, project: str) -> int:
    with closing(_connection(upstream)) as connection:
        return int(_get(connection, f"/count/{project}", {})[1])


def _connection(port: int) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)


def _timed(connection: HTTPConnection, path: str, headers: dict[str, str]) -> float:
    begin = time.perf_counter()
    _get(connection, path, headers)
    return time.perf_counter() - begin


def _get(connection: HTTPConnection, path: str, headers: dict[str, str]) -> tuple[Any, bytes]:
    """Raises `HTTPException` for anything else than a page or a 304."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 304):
        raise HTTPException(f"{path}: {answer.status} {answer.reason}")
    return answer.headers, body


# --- warm ----------------------------------------------------------------------------------------------------


def _works(index: int, authorization: str) -> Iterator[Work]:
    plain = {"Accept": _JSON, "Authorization": authorization, "User-Agent": "bench/1.0"}
    packed = {**plain, "Accept-Encoding": "gzip"}
    p99 = Aim(10, 3, most=True, unit=" ms")
    yield Work("5 files", "p5-0", plain, Aim(0.1, 0.3), proxpi=8)
    yield Work("5 files, gzip", "p5-0", packed, Aim(0.1, 0.3), proxpi=8)
    yield Work("200 files", "p200-0", plain, Aim(0.15, 0.5), p99)
    yield Work("200 files, gzip", "p200-0", packed, Aim(0.1, 0.3), p99)
    yield Work("5,000 files, gzip", f"p{_BIG}-0", packed, Aim(0.3, 0.7))
    with closing(_connection(index)) as connection:
        etag = _get(connection, f"/simple/p{_BIG}-0/", packed)[0]["ETag"]
    yield Work("5,000 files, 304", f"p{_BIG}-0", {**packed, "If-None-Match": etag}, Aim(0.1, 0.3))


def _sides(
    work: Work,
    index: int,
    process: psutil.Process,
    server: Nginx | None,
    static: Path,
    others: list[Peer],
) -> list[Side]:
    path = f"/simple/{work.project}/"
    ours = Side(_US, index, path, work.headers, process)
    with closing(_connection(index)) as connection:
        _, body = _get(connection, path, work.headers)
    sides = [ours]
    if server is not None:
        name = hashlib.sha256(work.name.encode()).hexdigest()[:12]
        (static / name).write_bytes(body or b"x")
        headers = dict(work.headers)
        if work.unchanged:
            with closing(_connection(server.static)) as connection:
                headers["If-None-Match"] = _get(connection, f"/{name}", {})[0]["ETag"]
        sides.append(Side(_STATIC, server.static, f"/{name}", headers, server.process))
    if not work.unchanged:  # each has another etag, and some have none
        sides += [
            Side(each.name, each.port, each.page(work.project), work.headers, each.process, peer=True)
            for each in others
        ]
    return sides


def _measure(options: argparse.Namespace, sides: list[Side], work: Work) -> None:
    for side in sides:
        _fill(side)
    _wrk(sides[0], 1.0)  # all workers have it
    for turn in range(options.rounds):
        for side in sides:
            big = side.peer and work.files >= _BIG
            if side.failed or (big and turn >= _BIG_ROUNDS):
                continue
            _turn(side, options.seconds * (_BIG_SECONDS if big else 1))


def _fill(side: Side) -> None:
    """Its caches have it."""
    try:
        with closing(_connection(side.port)) as connection:
            for _ in range(2):
                _get(connection, side.path, side.headers)
    except (OSError, HTTPException) as error:
        _fails(side, str(error))


def _turn(side: Side, seconds: float) -> None:
    before = cpu(side.process)
    try:
        rate, late = _wrk(side, seconds)
    except ValueError as error:
        _fails(side, str(error))
    else:
        side.turns.append((rate, late))
        side.cpu.append((cpu(side.process) - before) / (rate * seconds or 1) * 1e6)
    if side.peer:
        calm(side.process)


def _fails(side: Side, why: str) -> None:
    """The end of the benchmark for us; a line and no further turn for others."""
    if not side.peer:
        raise SystemExit(f"{side.name}: {why}")
    side.failed = why
    say(f"{side.name} is left out: {why}")


def _wrk(side: Side, seconds: float) -> tuple[float, float]:
    """Raises `ValueError` when there was an error."""
    named = [part for name, value in side.headers.items() for part in ("-H", f"{name}: {value}")]
    timing = ["-t1", f"-c{_AT_ONCE}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "--latency"]
    command = ["wrk", *timing, *named, f"http://127.0.0.1:{side.port}{side.path}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise ValueError(text.strip().splitlines()[-3])
    return rate_and_p99(text)


def rate_and_p99(text: str) -> tuple[float, float]:
    """Of what wrk says; the second in milliseconds."""
    lines = {line.split()[0]: line.split()[-1] for line in text.splitlines() if line.split()}
    return float(lines["Requests/sec:"]), milliseconds(lines["99%"])


def milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)


def _told(work: Work, sides: list[Side]) -> list[str]:
    ours, others = sides[0], {side.name: side for side in sides[1:]}
    late = statistics.median(late for _, late in ours.turns)
    told = [work.name, f"{statistics.median(ours.rates):,.0f}/s", f"{late:.1f} ms"]
    told += [str(work.p99), work.p99.verdict(late)] if work.p99 else ["", ""]
    static = others.pop(_STATIC, None)
    if static is None:
        told += ["", "", str(work.static), "", ""]
    else:
        ratio = _ratio(ours, static)
        told += [f"{statistics.median(static.rates):,.0f}/s", f"{ratio:.2f}", str(work.static)]
        took = (statistics.median(side.cpu) for side in (ours, static))
        told += [work.static.verdict(ratio), " and ".join(f"{each:.0f}" for each in took) + " µs"]
    return told + [_beside(work, ours, side) for side in others.values()]


def _beside(work: Work, ours: Side, side: Side) -> str:
    if side.failed:
        return "failed"
    rate = statistics.median(side.rates)
    if not rate:
        return "none in time"
    ratio = _ratio(ours, side)
    aim = (
        f" ({'reached' if ratio >= work.proxpi else 'missed'})"
        if work.proxpi and side.name == "proxpi"
        else ""
    )
    return f"{rate:,.3g}/s: {ratio:,.3g} times{aim}"


def _ratio(ours: Side, side: Side) -> float:
    """The median of the rounds'; a peer may have had fewer of them."""
    pairs = zip(ours.rates, side.rates, strict=False)
    return statistics.median(a / b if b else float("inf") for a, b in pairs)


if __name__ == "__main__":
    sys.exit(main())
