"""Pages through the index beside nginx's static files of the same bytes, and beside proxpi if it is there.

    .venv/bin/python -m bench.index.pages [--rounds 5] [--seconds 3] [--proxpi COMMAND]

Policy, identity and recording are on in every figure. The index (two workers), nginx (one), the upstream,
PostgreSQL and wrk are processes that share this machine. Turns alternate; told are medians. `--proxpi` is
how to start one, for example "path/to/venv/bin/python -m flask --app proxpi.server run"; it is given
its upstream and port. "cold" is the first time a page is asked for, beside the upstream's own answer.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from bench.index.files import _process, _sandbox, _wait_for
from bench.index.nginx import nginx
from bench.world import free_port, installation, load, say

_JSON = "application/vnd.pypi.simple.v1+json"
_AWAY = 0.08  # seconds from a request to the upstream's answer
_SIZES = (5, 200, 5000)
_COLD = 12  # pages of each size


@dataclass(frozen=True)
class Work:
    name: str
    path: str
    headers: dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--proxpi", default="")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(options.serve)
        return 0
    if shutil.which("wrk") is None:
        say("wrk is not installed: nothing is measured")
        return 0
    with installation() as folder:
        return run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> int:
    authorization = _sandbox()
    upstream, index = free_port(), free_port()
    static = folder / "static"
    static.mkdir()
    with ExitStack() as stack:
        stack.enter_context(_process("bench.index.pages", "--serve", str(upstream)))
        url = f"http://127.0.0.1:{upstream}/simple/"
        process = stack.enter_context(_process("sandboxes.index", INDEX_UPSTREAM=url, INDEX_PORT=str(index)))
        ports = stack.enter_context(nginx(folder / "nginx", static, upstream))
        peer = stack.enter_context(_proxpi(options.proxpi, url)) if options.proxpi else None
        for port in (upstream, index, *(ports or ())[:1], *([peer] if peer else [])):
            _wait_for(port)
        say(f"{load()}; upstream {_AWAY * 1000:.0f} ms away")
        cold(index, upstream, authorization)
        for work in _works(index, authorization):
            _compare(options, work, index, ports[0] if ports else None, static, peer)
        workers = psutil.Process(process.pid).children()
        told = ", ".join(f"{worker.memory_info().rss / 1e6:.0f} MB" for worker in workers)
        say(f"{load()}; the workers: {told}")
    return 0


def cold(index: int, upstream: int, authorization: str) -> None:
    for size in (50, 1000):
        ours, theirs = [], []
        for number in range(_COLD):
            path = f"/simple/p{size}-{number}/"
            theirs.append(_timed(upstream, path, {"Accept": _JSON}))
            ours.append(_timed(index, path, {"Accept": _JSON, "Authorization": authorization}))
        over = statistics.median(ours) - statistics.median(theirs)
        say(f"cold page of {size} files: {over * 1000:.1f} ms over the upstream's own answer")


def _works(index: int, authorization: str) -> Iterator[Work]:
    plain = {"Accept": _JSON, "Authorization": authorization, "User-Agent": "bench/1.0"}
    packed = {**plain, "Accept-Encoding": "gzip"}
    for size in _SIZES:
        path = f"/simple/p{size}-0/"
        if size < 5000:
            yield Work(f"page of {size} files", path, plain)
        yield Work(f"page of {size} files, gzip", path, packed)
    etag = _get(index, "/simple/p5000-0/", packed)[0]["ETag"]
    yield Work("page of 5000 files, 304", "/simple/p5000-0/", {**packed, "If-None-Match": etag})


def _compare(
    options: argparse.Namespace, work: Work, index: int, port: int | None, static: Path, peer: int | None
) -> None:
    _, body = _get(index, work.path, work.headers)
    name = hashlib.sha256(work.name.encode()).hexdigest()[:12]
    (static / name).write_bytes(body or b"x")
    theirs = dict(work.headers)
    if "If-None-Match" in theirs and port:
        theirs["If-None-Match"] = _get(port, f"/{name}", {})[0]["ETag"]
    ours, others, peers, worst = [], [], [], []
    _wrk(index, work.path, work.headers, options.seconds)  # both workers have it
    for _ in range(options.rounds):
        rate, late = _wrk(index, work.path, work.headers, options.seconds)
        ours.append(rate)
        worst.append(late)
        if port:
            others.append(_wrk(port, f"/{name}", theirs, options.seconds)[0])
        if peer and "304" not in work.name:
            peers.append(_wrk(peer, f"/index/{work.path.split('/')[2]}/", work.headers, options.seconds)[0])
    rate, late = statistics.median(ours), statistics.median(worst)
    told = f"{work.name}, {len(body):,} bytes: index {rate:,.0f}/s (p99 {late:.1f} ms)"
    if others:
        ratio = statistics.median(a / b for a, b in zip(ours, others, strict=True))
        told += f", nginx static {statistics.median(others):,.0f}/s, ratio {ratio:.2f}"
    if peers:
        ratio = statistics.median(a / b for a, b in zip(ours, peers, strict=True))
        told += f", proxpi {statistics.median(peers):,.0f}/s, ratio {ratio:.1f}"
    say(told)


def _wrk(port: int, path: str, headers: dict[str, str], seconds: float) -> tuple[float, float]:
    """Requests a second at concurrency 16, and the 99th percentile in milliseconds. An error ends the benchmark."""
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [
        "wrk",
        "-t1",
        "-c16",
        f"-d{seconds:.0f}s",
        "--timeout",
        "30s",
        "--latency",
        *named,
        f"http://127.0.0.1:{port}{path}",
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{path}: {text}")
    lines = {line.split()[0]: line.split()[-1] for line in text.splitlines() if line.split()}
    return float(lines["Requests/sec:"]), _milliseconds(lines["99%"])


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)


def _get(port: int, path: str, headers: dict[str, str]) -> tuple[Any, bytes]:
    connection = HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 304):
            raise SystemExit(f"{path}: {answer.status} {answer.reason}")
        return answer.headers, body
    finally:
        connection.close()


def _timed(port: int, path: str, headers: dict[str, str]) -> float:
    begin = time.perf_counter()
    _get(port, path, headers)
    return time.perf_counter() - begin


@contextmanager
def _proxpi(command: str, upstream: str) -> Iterator[int]:
    port = free_port()
    environ = {**os.environ, "PROXPI_INDEX_URL": upstream, "PROXPI_LOGGING_LEVEL": "ERROR"}
    process = subprocess.Popen(
        [*shlex.split(command), "--port", str(port)], env=environ, stderr=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _serve(port: int) -> None:
    """The upstream: `pN-K` is a project of N files."""

    async def page(request: web.Request) -> web.Response:
        began = time.monotonic()
        project = request.match_info["project"]
        body = _page(project)
        await asyncio.sleep(max(0.0, began + _AWAY - time.monotonic()))
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        headers = {"Content-Encoding": "gzip"} if packed else {}
        return web.Response(
            body=gzip.compress(body, 1) if packed else body, content_type=_JSON, headers=headers
        )

    app = web.Application()
    app.router.add_get("/simple/{project}/", page)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


def _page(project: str) -> bytes:
    count = int(project[1:].partition("-")[0])
    files = [_file(project, number) for number in range(count)]
    versions = sorted({f"{number // 4}.{number % 4}" for number in range(count)})
    return json.dumps(
        {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": files}
    ).encode()


def _file(project: str, number: int) -> dict[str, Any]:
    filename = f"{project.replace('-', '_')}-{number // 4}.{number % 4}-py3-none-any.whl"
    sha256 = hashlib.sha256(filename.encode()).hexdigest()
    return {
        "filename": filename,
        "url": f"/packages/{filename}",
        "hashes": {"sha256": sha256},
        "size": 10_000 + number,
        "requires-python": ">=3.9",
        "upload-time": "2020-01-02T03:04:05.678901Z",
        "yanked": False,
        "core-metadata": {"sha256": hashlib.sha256(sha256.encode()).hexdigest()},
    }


if __name__ == "__main__":
    sys.exit(main())
