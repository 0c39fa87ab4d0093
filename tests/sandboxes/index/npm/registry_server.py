"""A real npm registry on loopback: packuments and tarballs, with some of the faults that one has."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

OLD = "2026-01-02T03:04:05.678Z"


@dataclass(frozen=True)
class Tarball:
    name: str
    version: str
    data: bytes = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def digest(self) -> str:
        """What the store knows it by."""
        return hashlib.sha512(self.data).hexdigest()

    @property
    def integrity(self) -> str:
        return f"sha512-{base64.b64encode(hashlib.sha512(self.data).digest()).decode()}"

    @property
    def path(self) -> str:
        """Where the index serves it."""
        return f"/npm/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


def make_tarball(
    name: str = "demo", version: str = "1.0.0", padding: bytes = b"", **manifest: Any
) -> Tarball:
    """An installable package whose module is its version."""
    document = {"name": name, "version": version, "main": "index.js"} | manifest
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        contents = {
            "package.json": json.dumps(document).encode(),
            "index.js": f"module.exports = '{version}'\n".encode(),
        } | ({"padding": padding} if padding else {})
        for path, data in contents.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return Tarball(name, version, gzip.compress(buffer.getvalue(), mtime=0), document)


@dataclass
class RegistryServer:
    """Serves what was added; `extra` is laid over a packument, `data` replaces a tarball's bytes."""

    packages: dict[str, dict[str, tuple[Tarball, str]]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)  # by package
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)  # by "name@version"
    bodies: dict[str, bytes] = field(default_factory=dict)  # whole packuments
    data: dict[str, bytes] = field(default_factory=dict)  # by file name
    pauses: dict[str, asyncio.Event] = field(default_factory=dict)  # what a file waits for half-way
    lengths: bool = True  # whether it says how long a file is
    status: int = 200
    authorization: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/registry/{name}", self._packument)
        app.router.add_get("/files/{filename}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/registry/"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def add(self, *tarballs: Tarball, published: str = OLD) -> None:
        """The one added last is the latest."""
        for each in tarballs:
            self.packages.setdefault(each.name, {})[each.version] = (each, published)
            self.tags.setdefault(each.name, {})["latest"] = each.version

    def document(self, name: str) -> dict[str, Any]:
        listed = self.packages[name]
        versions = {
            version: each.manifest
            | {
                "dist": {
                    "tarball": f"../files/{_filename(each)}",
                    "integrity": each.integrity,
                    "shasum": hashlib.sha1(each.data).hexdigest(),  # noqa: S324 -- what registries state
                    "unpackedSize": len(each.data) * 3,
                }
            }
            | self.manifests.get(f"{name}@{version}", {})
            for version, (each, _) in listed.items()
        }
        times = {version: published for version, (_, published) in listed.items()}
        return {
            "_id": name,
            "name": name,
            "description": "for tests",
            "readme": "x" * 5000,
            "dist-tags": self.tags[name],
            "versions": versions,
            "time": {"created": OLD, "modified": OLD, **times},
        } | self.extra.get(name, {})

    async def _packument(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.asked[name] += 1
        if self.status != 200:
            return web.Response(status=self.status)
        if self.authorization and request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401)
        if name not in self.packages and name not in self.bodies:
            return web.Response(status=404)
        body = self.bodies.get(name) or json.dumps(self.document(name)).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            self.asked[f"{name} unchanged"] += 1
            return web.Response(status=304)
        return web.Response(body=body, content_type="application/json", headers={"ETag": etag})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        filename = request.match_info["filename"]
        self.asked[filename] += 1
        known = {
            _filename(each): each.data for listed in self.packages.values() for each, _ in listed.values()
        }
        data = self.data.get(filename, known.get(filename))
        return web.Response(status=404) if data is None else await self._send(request, filename, data)

    async def _send(self, request: web.Request, filename: str, data: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        if self.lengths:
            response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        if filename in self.pauses:
            await self.pauses[filename].wait()
        await response.write(data[len(data) // 2 :])
        await response.write_eof()
        return response


def _filename(tarball: Tarball) -> str:
    """Unlike the index's: its own are not taken over."""
    return f"{tarball.name.replace('/', '+')}_{tarball.version}.tar.gz"
