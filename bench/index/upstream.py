"""An upstream index some milliseconds away: `python -m bench.index.upstream FOLDER PORT MILLISECONDS RATE`.

RATE is how many MB/s one file comes with; 0: as fast as it can. Serves `FOLDER/PROJECT/*.whl`, and says how
often each file was fetched at /count/NAME.
"""

import asyncio
import hashlib
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

from aiohttp import web

_PIECE = 64 * 1024
_JSON = "application/vnd.pypi.simple.v1+json"


def main() -> None:
    folder, port, away = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 1000
    rate = float(sys.argv[4]) * 1e6
    asked: Counter[str] = Counter()

    async def page(request: web.Request) -> web.Response:
        await asyncio.sleep(away)
        files = [_entry(path) for path in sorted((folder / request.match_info["project"]).glob("*.whl"))]
        body = {"meta": {"api-version": "1.1"}, "name": request.match_info["project"], "files": files}
        return web.json_response(body, content_type=_JSON)

    async def file(request: web.Request) -> web.StreamResponse:
        asked[request.match_info["name"]] += 1
        await asyncio.sleep(away)
        path = folder / request.match_info["project"] / request.match_info["name"]
        return await _paced(request, path.read_bytes(), rate) if rate else web.FileResponse(path)

    async def count(request: web.Request) -> web.Response:
        return web.Response(text=str(asked[request.match_info["name"]]))

    app = web.Application()
    app.router.add_get("/simple/{project}/", page)
    app.router.add_get("/packages/{project}/{name}", file)
    app.router.add_get("/count/{name}", count)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


async def _paced(request: web.Request, data: bytes, rate: float) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = len(data)
    await response.prepare(request)
    started, sent = monotonic(), 0
    while sent < len(data):
        due = min(len(data), int((monotonic() - started) * rate) + _PIECE)
        await response.write(data[sent:due])
        sent = due
        await asyncio.sleep(_PIECE / rate)
    return response


@cache
def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "filename": path.name,
        "url": f"/packages/{path.parent.name}/{path.name}",
        "hashes": {"sha256": sha256},
        "size": path.stat().st_size,
        "upload-time": "2020-01-02T03:04:05.678901Z",
    }


if __name__ == "__main__":
    main()
