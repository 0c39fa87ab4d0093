"""Children that scan, and who waits for them.

A child has one file at a time. One that takes too long, dies or answers nonsense is killed, and the next
file gets a new one; so does one that scanned many files, since libraries leak. Whoever stops waiting
(a cancelled task) takes the busy child along. That children cannot be started at all says nothing about a
file, so it is an error and no report.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from sandboxes.errors import TemporaryError
from sandboxes.screening.findings import Report
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner import protocol
from sandboxes.screening.scanner.version import VERSION

logger = logging.getLogger(__name__)

SECONDS: Final = 30.0  # for one file, by the clock
FILES: Final = 500  # that one child scans
_START: Final = 60.0  # seconds for loading detectors and compiling rules
_ROOT: Final = Path(__file__).resolve().parents[3]
_KEPT: Final = ("DATA_DIR", "SCREENING_RULES")  # of the environment: where lists and rules are, and no secret
_MODULE: Final = "sandboxes.screening.scanner"


class Scanners:
    """Use it in one event loop; `close` it there."""

    def __init__(
        self,
        children: int | None = None,
        *,
        seconds: float = SECONDS,
        files: int = FILES,
        module: str = _MODULE,
    ) -> None:
        self.children = children or max(1, min(4, os.cpu_count() or 1))
        self._seconds = seconds
        self._files = files
        self._module = module
        self._room = asyncio.Semaphore(self.children)
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._closed = False

    async def scan(self, path: Path, facts: Facts, former: Path | None = None) -> Report:
        """Raises `TemporaryError` when no child can be started, or on `close`."""
        async with self._room:
            again = False
            while True:
                child = await self._child(fresh=again)
                try:
                    done = await child.scan(self._request(path, facts, former), self._seconds)
                except _ChildError as error:
                    await self._end(child)
                    self._check_open()
                    if not error.lost or child.files == 1:
                        return Report(broken=str(error), seconds=error.seconds, version=VERSION)
                    again = True  # it died with files behind it: of them, or of this one? A fresh one tells
                except BaseException:
                    await self._end(child)
                    raise
                else:
                    await self._keep(child)
                    return done

    async def close(self) -> None:
        """Also ends what is under way."""
        self._closed = True
        for child in self._all:
            child.kill()
        await asyncio.gather(*(self._end(child) for child in list(self._idle)))
        for _ in range(self.children):  # those that scanned are seen off by who waits for them
            await self._room.acquire()
        for _ in range(self.children):
            self._room.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def pids(self) -> set[int]:
        """Of the children that live, for whoever watches their memory."""
        return {child.pid for child in self._all}

    def _request(self, path: Path, facts: Facts, former: Path | None) -> bytes:
        request = protocol.Request(
            path=str(path.absolute()),
            facts=facts,
            former=str(former.absolute()) if former else None,
            seconds=int(self._seconds) + 1,
        )
        return msgspec.json.encode(request) + b"\n"

    async def _child(self, *, fresh: bool) -> "_Child":
        self._check_open()
        while self._idle and not fresh:
            child = self._idle.pop()
            if child.alive():
                return child
            await self._end(child)  # killed while it had nothing to do
        child = await _Child.start(self._module)
        self._all.add(child)
        try:
            await child.ready()
            self._check_open()
        except BaseException:
            await self._end(child)
            raise
        return child

    async def _keep(self, child: "_Child") -> None:
        if self._closed or child.files >= self._files:
            await self._end(child)
        else:
            self._idle.append(child)

    async def _end(self, child: "_Child") -> None:
        self._all.discard(child)
        with suppress(ValueError):
            self._idle.remove(child)
        child.kill()
        await asyncio.shield(child.gone())

    def _check_open(self) -> None:
        if self._closed:
            raise TemporaryError("Screening is being stopped.")


class _ChildError(Exception):
    """Why there is no report, as an approver reads it."""

    def __init__(self, reason: str, seconds: float, lost: bool) -> None:
        super().__init__(reason)
        self.lost = lost  # it died, by whatever hand
        self.seconds = round(seconds, 4)


class _Child:
    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid
        self.files = 0

    @classmethod
    async def start(cls, module: str) -> Self:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-W", "ignore", "-m", module),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL if sys.stderr is None else None,
                cwd=_ROOT,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONHASHSEED": "random", **kept},
                limit=protocol.MOST,
                start_new_session=True,  # Ctrl-C is for the parent, who ends its children
            )
        except OSError as error:
            raise TemporaryError(f"No scanner can be started: {error.strerror}.") from error
        return cls(process)

    async def ready(self) -> None:
        try:
            line = await asyncio.wait_for(self._output.readline(), _START)
        except (TimeoutError, ValueError) as error:
            raise TemporaryError("A scanner does not become ready.") from error
        if line != protocol.READY:
            raise TemporaryError("A scanner could not start; its log says why.")

    async def scan(self, request: bytes, seconds: float) -> Report:
        begin = asyncio.get_running_loop().time()
        lost = False
        self.files += 1
        try:
            async with asyncio.timeout(seconds):
                line = await self._asked(request)
            if not line.endswith(b"\n"):
                raise EOFError
            return msgspec.json.decode(line, type=Report)
        except TimeoutError:
            reason = f"scanning it took longer than {seconds:g} s"
        except (OSError, EOFError):
            await self._ended()
            lost = True
            reason = f"its scanner {self._fate()}"
        except (ValueError, msgspec.MsgspecError):
            reason = "its scanner answered what cannot be understood"
        raise _ChildError(reason, asyncio.get_running_loop().time() - begin, lost)

    async def _asked(self, request: bytes) -> bytes:
        writer = self._process.stdin
        assert writer is not None  # noqa: S101  it was asked for
        writer.write(request)
        await writer.drain()
        return await self._output.readline()

    @property
    def _output(self) -> asyncio.StreamReader:
        reader = self._process.stdout
        assert reader is not None  # noqa: S101
        return reader

    def alive(self) -> bool:
        return self._process.returncode is None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def gone(self) -> None:
        """Nothing of it is left. Its pipe is emptied: a process is waited for until all of it was read."""
        writer = self._process.stdin
        if writer is not None:
            writer.close()
        with suppress(ValueError, OSError):
            await self._output.read()
        await self._process.wait()

    async def _ended(self) -> None:
        """Its output ended: it is gone in a moment, or made to be."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 1)

    def _fate(self) -> str:
        code = self._process.returncode
        if code is None:
            return "closed its output"
        if code == -signal.SIGXCPU:
            return "used up its processor time"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended by itself ({code})"
