"""An upstream index some milliseconds away: `python -m bench.index.upstream FOLDER PORT MILLISECONDS RATE`.

RATE is how many MB/s one file comes with; 0: as fast as it can. It has `FOLDER/PROJECT/*.whl`, and the
projects of `projects.py`, of which its list names those whose page was made. That is made, and packed, once: by
/prepare/PROJECT before anybody asks. How often a page or a whole file was asked for is at /count/PROJECT or
/count/FILENAME.
"""

import asyncio
import gzip
import hashlib
import json
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from time import monotonic

from aiohttp import web

from bench.index import projects

OLDER = "older"  # a file beside the wheels: how many older versions their page lists besides
_PIECE = 64 * 1024
_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class _Page:
    body: bytes
    packed: bytes
    etag: str


class Upstream:
    def __init__(self, folder: Path, away: float, rate: float) -> None:
        """`away`: seconds from a request to its answer; `rate`: bytes a second."""
        self._folder = folder
        self._away = away
        self._rate = rate
        self._asked: Counter[str] = Counter()
        self._names = {path.name for path in folder.glob("*/")}
        self._page = lru_cache(maxsize=2000)(self._made)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/simple/", self.names)
        app.router.add_get("/simple/{project}/", self.page)
        app.router.add_get("/packages/{project}/{name}", self.file)
        app.router.add_get("/prepare/{project}", self.prepare)
        app.router.add_get("/count/{name}", self.count)
        return app

    async def names(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self._away)
        listed = [{"name": name} for name in sorted(self._names)]
        body = json.dumps({"meta": {"api-version": "1.1"}, "projects": listed}).encode()
        return web.Response(body=body, content_type=_JSON)  # no charset: proxpi compares for equality

    async def page(self, request: web.Request) -> web.Response:
        project = request.match_info["project"]
        self._asked[project] += 1
        page = self._page(project)
        await asyncio.sleep(self._away)
        if page is None:
            raise web.HTTPNotFound
        headers = {"ETag": page.etag, "Vary": "Accept, Accept-Encoding"}
        if request.headers.get("If-None-Match") == page.etag:
            return web.Response(status=304, headers=headers)
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=page.body, content_type=_JSON, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=page.packed, content_type=_JSON, headers=headers)

    async def file(self, request: web.Request) -> web.StreamResponse:
        project, name = request.match_info["project"], request.match_info["name"]
        if request.method == "GET" and "Range" not in request.headers:  # parts are read for metadata
            self._asked[name] += 1
        await asyncio.sleep(self._away)
        path = self._folder / project / name
        if name.endswith(".whl.metadata"):
            return web.Response(body=_metadata(path.with_suffix("")))
        if path.is_file() and not self._rate:
            return web.FileResponse(path)
        try:
            data = path.read_bytes() if path.is_file() else projects.content(project)
        except KeyError:
            raise web.HTTPNotFound from None
        return await self._paced(request, data) if self._rate else web.Response(body=data)

    async def prepare(self, request: web.Request) -> web.Response:
        self._page(request.match_info["project"])
        return web.Response(text="ok")

    async def count(self, request: web.Request) -> web.Response:
        return web.Response(text=str(self._asked[request.match_info["name"]]))

    def _made(self, project: str) -> _Page | None:
        body = projects.page_of(project) or self._stored(project)
        if body is None:
            return None
        self._names.add(project)
        return _Page(body, gzip.compress(body, 6), f'"{hashlib.sha256(body).hexdigest()[:24]}"')

    def _stored(self, project: str) -> bytes | None:
        wheels = sorted((self._folder / project).glob("*.whl"))
        if not wheels:
            return None
        older = self._folder / project / OLDER
        files = projects.listed(project, int(older.read_text())) if older.exists() else []
        for wheel in wheels:
            with wheel.open("rb") as data:
                sha256 = hashlib.file_digest(data, "sha256").hexdigest()
            metadata = hashlib.sha256(_metadata(wheel)).hexdigest() if zipfile.is_zipfile(wheel) else ""
            files.append(projects.entry(project, wheel.name, sha256, wheel.stat().st_size, metadata))
        return projects.document(project, files)

    async def _paced(self, request: web.Request, data: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(data)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        started, sent = monotonic(), 0
        while sent < len(data):
            due = min(len(data), int((monotonic() - started) * self._rate) + _PIECE)
            await response.write(data[sent:due])
            sent = due
            if sent < len(data):
                await asyncio.sleep(_PIECE / self._rate)
        return response


@cache
def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def main() -> None:
    folder, port, away, rate = sys.argv[1:]
    upstream = Upstream(Path(folder), int(away) / 1000, float(rate) * 1e6)
    web.run_app(upstream.app(), host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
