"""Fills the store before it is needed: a real pip resolves and downloads, and the index is what it asks.

The index runs in this process, on loopback, for one visitor whose token is made for the occasion. Pages,
metadata and files so arrive through the same code, and under the same policy (the installation's floor),
as when a sandbox asks for them, and hash-pinned requirements are honoured as pip honours them. Nothing is
recorded as fetched by a sandbox: none did.

Only wheels are downloaded. What has only a source distribution would have to be built to be resolved,
which runs its code, here.
"""

import asyncio
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from sandboxes.index.app import make_app
from sandboxes.index.client import Client
from sandboxes.index.config import Config
from sandboxes.index.credentials import credentials_of
from sandboxes.index.errors import UnauthenticatedError
from sandboxes.index.gate import Gate
from sandboxes.index.identity import Identities, Visitor
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.recorder import Ask, Kind, Outcome, Recorder
from sandboxes.index.requirements_file import Requirements

_NAME = "prefetch"
_ROOT = Path(__file__).resolve().parents[2]
_NOBODY = Subject(sandbox=0, person=0, department="", profile="")  # the floor, and waivers for all
_FOREIGN = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_LAST_LINES = 3  # of pip's errors
_MANYLINUX = re.compile(r"manylinux_2_(\d+)_(\w+)")
_OLDEST_GLIBC = 5  # manylinux1
_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}  # PEP 600


@dataclass(frozen=True, slots=True)
class Target:
    """For which Python and platforms; empty: this machine's own."""

    python: str = ""  # "3.13"
    platforms: tuple[str, ...] = ()  # wheel tags: "manylinux_2_28_x86_64"

    def arguments(self) -> list[str]:
        named = [tag for platform in self.platforms for tag in tags_of(platform)]
        python = ["--python-version", self.python] if self.python else []
        return [*python, *(argument for tag in named for argument in ("--platform", tag))]


def tags_of(platform: str) -> list[str]:
    """The platform and the older ones whose wheels it runs: pip takes `--platform` literally. PEP 600."""
    match = _MANYLINUX.fullmatch(platform)
    if match is None:
        return [platform]
    tags = []
    for minor in range(int(match[1]), _OLDEST_GLIBC - 1, -1):
        tags.append(f"manylinux_2_{minor}_{match[2]}")
        if minor in _LEGACY:
            tags.append(f"{_LEGACY[minor]}_{match[2]}")
    return tags


@dataclass
class Report:
    """What came, as "demo-1.0-py3-none-any.whl"; what did not, with pip's reason."""

    files: set[str] = field(default_factory=set)
    size: int = 0  # bytes
    failures: dict[str, str] = field(default_factory=dict)


async def prefetch(config: Config, requirements: Requirements, target: Target) -> Report:
    """All of the requirements together; if that cannot be, each for itself, so what can be had is had."""
    async with Loopback(config) as index:
        together = await index.pip(requirements.wanted, requirements, target)
        if together:
            for line in requirements.wanted:
                if why := await index.pip([line], requirements, target):
                    index.report.failures[line.split(" --hash")[0]] = why
            if not index.report.failures:  # each can be had, but not all in one environment
                index.report.failures["all in one environment"] = together
        return index.report


async def prefetch_each(config: Config, names: Iterable[str], target: Target) -> Report:
    """Projects that have nothing to do with each other."""
    async with Loopback(config) as index:
        for name in names:
            if why := await index.pip([name], Requirements(), target):
                index.report.failures[name] = why
        return index.report


class Loopback:
    """The index, running, and pip in front of it."""

    def __init__(self, config: Config) -> None:
        self.report = Report()
        self._config = replace(config, url="")
        self._token = secrets.token_urlsafe()

    async def __aenter__(self) -> "Loopback":
        gate = Gate(_OneVisitor(self._token), _Notes(self.report))
        self._runner = web.AppRunner(
            await make_app(self._config, gate), access_log=None, shutdown_timeout=5.0
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://{_NAME}:{self._token}@127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def pip(self, lines: Sequence[str], requirements: Requirements, target: Target) -> str:
        """Downloads; returns why not, "" for success."""
        if not lines:
            return ""
        with TemporaryDirectory() as folder:
            wanted, constraints = Path(folder, "requirements.txt"), Path(folder, "constraints.txt")
            await asyncio.to_thread(wanted.write_text, "\n".join(lines))
            await asyncio.to_thread(constraints.write_text, "\n".join(requirements.constraints))
            options = ["--requirement", str(wanted), "--constraint", str(constraints), *target.arguments()]
            if requirements.hashed and len(lines) == 1:
                options.append("--no-deps")  # the other lines pin what it needs
            return await self._run([*self._program(target), *_download(folder), *options], folder)

    def _program(self, target: Target) -> list[str]:
        if target.python:
            return [sys.executable, "-m", "sandboxes.index.pip_as", target.python]
        return [sys.executable, "-m", "pip"]

    async def _run(self, command: list[str], folder: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}
        process = await asyncio.create_subprocess_exec(
            *command,
            # The URL has the token in it, and arguments can be read by every process of this machine.
            env=kept
            | {"PIP_INDEX_URL": f"{self.origin}/simple/", "PIP_CONFIG_FILE": os.devnull, "HOME": folder},
            cwd=_ROOT,  # where `python -m sandboxes…` is found
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return _why(said.decode(errors="replace")) if process.returncode else ""


def _download(folder: str) -> list[str]:
    return [
        "download",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-input",
        "--quiet",
        "--progress-bar=off",
        "--only-binary=:all:",
        f"--dest={Path(folder, 'files')}",
    ]


def _why(said: str) -> str:
    """pip's errors without its own prefixes; never its index URL, which has the token in it."""
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return " ".join(lines[-_LAST_LINES:]) or "pip failed, and did not say why."


class _OneVisitor(Identities):
    """Knows one token, which no sandbox has."""

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).hexdigest()

    async def of(self, authorization: str | None) -> Visitor:
        credentials = credentials_of(authorization)
        if credentials is None or not secrets.compare_digest(credentials.digest, self._digest):
            raise UnauthenticatedError("This index serves `manage.py prefetch` alone.")
        return Visitor(sandbox=0, credentials=credentials, subject=_NOBODY)

    def forget(self, visitor: Visitor) -> None:
        """Nothing to forget: the token holds as long as this index runs."""


class _Notes(Recorder):
    """Notes what was given for the report, and writes nothing down."""

    def __init__(self, report: Report) -> None:
        self._report = report

    async def record(self, visitor: Visitor, client: Client, ask: Ask, outcome: Outcome) -> None:
        if ask.kind is Kind.FILE and outcome.received is not None and ask.filename not in self._report.files:
            self._report.files.add(ask.filename)
            self._report.size += outcome.received.size
