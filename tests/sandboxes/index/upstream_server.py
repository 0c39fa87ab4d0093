"""A real upstream index on loopback, with every fault a real one has."""

import asyncio
import hashlib
import json
import ssl
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.sandboxes.index.wheels import Package

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class Fault:
    """What goes wrong with one file, or with one page (by project)."""

    status: int = 200
    times: int | None = None  # how often before it is over; None: always
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None  # bytes after which the connection breaks
    data: bytes | None = None  # sent instead of the right bytes
    drip: float = 0.0  # seconds before each piece
    piece: int = 16 * 1024  # bytes
    chunked: bool = False  # says no length
    redirect: str = ""
    pause_at: int = 0  # bytes after which it waits for `go_on`
    go_on: asyncio.Event | None = None


@dataclass
class UpstreamServer:
    """Serves `projects` as JSON or HTML; counts what it is asked for; obeys `faults`."""

    html: bool = False
    projects: dict[str, list[Package]] = field(default_factory=dict)
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)  # by file name: keys of its JSON entry
    faults: dict[str, Fault] = field(default_factory=dict)
    page_faults: dict[str, Fault] = field(default_factory=dict)
    ranges: bool = True  # whether files can be asked for in parts
    authorization: str = ""  # that every request must show; "": none
    page_status: int = 200
    statuses: dict[str, str] = field(default_factory=dict)  # PEP 792, by project
    content_type: str = ""  # of pages; empty: the right one
    etags: bool = True
    asked: Counter[str] = field(default_factory=Counter)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)  # the newest request's, by path
    url: str = ""
    _runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_get("/simple/{project}/", self._page)
        app.router.add_get("/packages/{filename}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}/simple/"

    async def stop(self) -> None:
        """Down: nothing listens any more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def add(self, project: str, *packages: Package) -> None:
        self.projects.setdefault(project, []).extend(packages)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._count(request)
        project = request.match_info["project"]
        fault = _next(self.page_faults, project)
        if self.page_status != 200 or fault.status != 200:
            status = self.page_status if self.page_status != 200 else fault.status
            return web.Response(status=status, headers=fault.headers)
        if fault.redirect:
            return web.Response(status=302, headers={"Location": fault.redirect})
        if self.authorization and request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401)
        if project not in self.projects:
            return web.Response(status=404)
        body = self._html(project) if self.html else self._json(project)
        if fault != Fault():
            content_type = fault.headers.get("Content-Type", JSON)
            body = fault.data if fault.data is not None else body
            return await self._send(request, body, fault, fault.headers | {"Content-Type": content_type})
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        headers = {"ETag": etag} if self.etags else {}
        if self.etags and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=body,
            headers=headers | {"Content-Type": self.content_type or ("text/html" if self.html else JSON)},
        )

    def _json(self, project: str) -> bytes:
        files = [
            {
                "filename": package.filename,
                "url": f"../../packages/{package.filename}",
                "hashes": {"sha256": package.sha256},
                "size": len(package.data),
                "upload-time": "2026-01-02T03:04:05.678901Z",
                "core-metadata": {"sha256": package.metadata_sha256} if package.metadata else False,
            }
            | self.extra.get(package.filename, {})
            for package in self.projects[project]
        ]
        page: dict[str, Any] = {"meta": {"api-version": "1.1"}, "name": project, "files": files}
        if project in self.statuses:
            page["project-status"] = {"status": self.statuses[project]}
        return json.dumps(page).encode()

    def _html(self, project: str) -> bytes:
        links = "".join(
            f'<a href="../../packages/{package.filename}#sha256={package.sha256}" '
            f'data-core-metadata="sha256={package.metadata_sha256}">{package.filename}</a>\n'
            for package in self.projects[project]
        )
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self._count(request)
        filename = request.match_info["filename"]
        fault = _next(self.faults, filename)
        if fault.redirect:
            return web.Response(status=302, headers={"Location": fault.redirect})
        data = fault.data if fault.data is not None else self._bytes(filename)
        if data is None or fault.status != 200:
            return web.Response(status=404 if data is None else fault.status, headers=fault.headers)
        if self.ranges and (asked := request.http_range) != slice(None, None, 1) and fault == Fault():
            return _part(data, asked)
        return await self._send(request, data, fault, fault.headers)

    async def _send(
        self, request: web.Request, data: bytes, fault: Fault, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        if not fault.chunked and "Content-Length" not in headers:
            response.content_length = len(data)
        await response.prepare(request)
        end = len(data) if fault.cut_at is None else fault.cut_at
        for start in range(0, end, fault.piece):
            await asyncio.sleep(fault.drip)
            if request.transport is None or request.transport.is_closing():
                return response  # the index had enough
            if fault.go_on is not None and start >= fault.pause_at:
                await fault.go_on.wait()
            await response.write(data[start : min(start + fault.piece, end)])
        if fault.cut_at is not None and request.transport is not None:
            request.transport.close()
            return response
        await response.write_eof()
        return response

    def _bytes(self, filename: str) -> bytes | None:
        for package in (package for packages in self.projects.values() for package in packages):
            if package.filename == filename:
                return package.data
            if f"{package.filename}.metadata" == filename:
                return package.metadata
        return None

    def _count(self, request: web.Request) -> None:
        self.asked[request.path] += 1
        self.headers[request.path] = dict(request.headers)


def _next(faults: dict[str, Fault], key: str) -> Fault:
    """The fault that is to happen now; one that happens a number of times is counted down."""
    fault = faults.get(key)
    if fault is None:
        return Fault()
    if fault.times is not None:
        fault.times -= 1
        if fault.times <= 0:
            del faults[key]
    return fault


def _part(data: bytes, asked: slice) -> web.Response:
    """206 for one range (RFC 9110, 14.2), suffix ranges too."""
    start, stop, _ = asked.indices(len(data))
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
    return web.Response(status=206, body=data[start:stop], headers=headers)
