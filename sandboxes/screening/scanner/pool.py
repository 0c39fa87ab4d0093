"""Children that scan, and who waits for them.

A child has one file at a time. One that takes too long, dies or answers nonsense is killed, and the next
file gets a new one; so does one that scanned many files, since libraries leak. Too long is counted in time
of the processor, which a file gets as much of on a machine that is busy or was asleep; the clock ends only
what does nothing at all. Whoever stops waiting (a cancelled task) takes the busy child along. That children
cannot be started at all says nothing about a file, so it is an error and no report.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec.structs import replace

from sandboxes.errors import TemporaryError
from sandboxes.screening.archives.source import OPENING
from sandboxes.screening.environment import RULES
from sandboxes.screening.findings import Report
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner import protocol
from sandboxes.screening.scanner.version import VERSION

logger = logging.getLogger(__name__)

SECONDS: Final = 30  # of the processor, for one file
WAITING: Final = 600.0  # seconds by the clock: for a child that sleeps, or a disk that does not answer
# That one child scans: a new one takes a second, and what a file might do to its child ends with it.
FILES: Final = 100
_START: Final = 60.0  # seconds for loading detectors and compiling rules
_ROOT: Final = Path(__file__).resolve().parents[3]
_KEPT: Final = ("DATA_DIR", RULES)  # of the environment: where lists and rules are, and no secret
_MODULE: Final = "sandboxes.screening.scanner"


class Scanners:
    """Use it in one event loop; `close` it there."""

    def __init__(
        self,
        children: int | None = None,
        *,
        seconds: int = SECONDS,
        waiting: float = WAITING,
        files: int = FILES,
        module: str = _MODULE,
    ) -> None:
        self.children = children or max(1, min(4, os.cpu_count() or 1))
        self._seconds = seconds
        self._waiting = waiting
        self._files = files
        self._module = module
        self._room = asyncio.Semaphore(self.children)
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._closed = False
        self._told = False
        self._generation = 0  # children of an older one get no more files
        self._added = True  # whether they know of the admin's rules

    async def scan(
        self, path: Path, facts: Facts, former: Path | None = None, sources: Path | None = None
    ) -> Report:
        """`former`: an earlier release, `sources`: what a wheel was built from, to compare with.

        Raises `TemporaryError` when no child can be started, or on `close`.
        """
        async with self._room:
            request = protocol.Request(
                facts, "", self._seconds, former=former is not None, sources=sources is not None
            )
            try:
                with _opened(path, former, sources) as handles:
                    return await self._scan(handles, request)
            except _UnopenedError as error:
                return Report(broken=str(error), version=VERSION)

    async def _scan(self, handles: list[int], request: protocol.Request) -> Report:
        again = False
        while True:
            child = await self._child(fresh=again)
            try:
                done = await child.scan(request, handles, self._waiting)
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

    async def renew(self, *, added: bool = True) -> None:
        """Whoever begins to scan from now on has read rules and lists anew. `added`: those of the admin too."""
        self._generation += 1
        self._added = added
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._end(child) for child in idle))

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

    async def _child(self, *, fresh: bool) -> "_Child":
        self._check_open()
        while self._idle and not fresh:
            child = self._idle.pop()
            if child.alive():
                return child
            await self._end(child)  # killed while it had nothing to do
        generation = self._generation
        child = await _Child.start(self._module, without=() if self._added else (RULES,))
        child.generation = generation
        self._all.add(child)
        try:
            self._tell(await child.ready())
            self._check_open()
        except BaseException:
            await self._end(child)
            raise
        return child

    def _tell(self, missing: tuple[str, ...]) -> None:
        """Once: it is the same for all of them."""
        if missing and not self._told:
            logger.warning("scanners are confined less than they should be here: %s", "; ".join(missing))
        self._told = True

    async def _keep(self, child: "_Child") -> None:
        if self._closed or child.files >= self._files or child.generation != self._generation:
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


class _UnopenedError(Exception):
    """Why a file is not even handed over."""


@contextmanager
def _opened(path: Path, *beside: Path | None) -> Iterator[list[int]]:
    """Handles for the child, which may open nothing itself. What is gone of `beside` is a file without bytes."""
    handles: list[int] = []
    try:
        try:
            handles.append(os.open(path, OPENING))
        except OSError as error:
            raise _UnopenedError(f"it cannot be opened: {error.strerror}") from error
        for each in beside:
            if each is None:
                continue
            try:
                handles.append(os.open(each, OPENING))
            except OSError:
                handles.append(os.open(os.devnull, OPENING))
        yield handles
    finally:
        for handle in handles:
            os.close(handle)


class _ChildError(Exception):
    """Why there is no report, as an approver reads it."""

    def __init__(self, reason: str, seconds: float, lost: bool) -> None:
        super().__init__(reason)
        self.lost = lost  # it died, by whatever hand
        self.seconds = round(seconds, 4)


class _Child:
    def __init__(self, process: Process, files: socket.socket) -> None:
        self._process = process
        self._files = files  # the socket by which it is given them
        self.pid = process.pid
        self.files = 0
        self.generation = 0

    @classmethod
    async def start(cls, module: str, without: Collection[str] = ()) -> Self:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ and name not in without}
        ours, theirs = socket.socketpair()
        ours.shutdown(socket.SHUT_RD)  # nothing that it writes there can make it wait, or us
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-W", "ignore", "-m", module, str(theirs.fileno())),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=DEVNULL if sys.stderr is None else None,
                    cwd=_ROOT,
                    env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONHASHSEED": "random", **kept},
                    limit=protocol.MOST,
                    start_new_session=True,  # Ctrl-C is for the parent, who ends its children
                    pass_fds=(theirs.fileno(),),
                )
        except OSError as error:
            ours.close()
            raise TemporaryError(f"No scanner can be started: {error.strerror}.") from error
        except BaseException:
            ours.close()
            raise
        return cls(process, ours)

    async def ready(self) -> tuple[str, ...]:
        """What its confinement lacks."""
        try:
            line = await asyncio.wait_for(self._output.readline(), _START)
        except (TimeoutError, ValueError) as error:
            raise TemporaryError("A scanner does not become ready.") from error
        try:
            return msgspec.json.decode(line, type=protocol.Ready).missing
        except msgspec.MsgspecError as error:
            raise TemporaryError("A scanner could not start; its log says why.") from error

    async def scan(self, request: protocol.Request, handles: list[int], waiting: float) -> Report:
        begin = asyncio.get_running_loop().time()
        token = secrets.token_hex(16)
        line = msgspec.json.encode(replace(request, token=token)) + b"\n"
        lost = False
        self.files += 1
        try:
            async with asyncio.timeout(waiting):
                line = await self._asked(line, handles)
            if not line.endswith(b"\n"):
                raise EOFError
            answer = msgspec.json.decode(line, type=protocol.Answer)
            if answer.token == token and not await self._more():
                return answer.report
            lost = answer.token != token  # of this file, or left behind by another?
            reason = "its scanner answered more than it was asked"
        except TimeoutError:
            reason = f"scanning it did not end within {waiting:g} s"
        except (OSError, EOFError):
            await self._ended()
            lost = (
                self._process.returncode != -signal.SIGXCPU
            )  # time is given anew for each: it was this file's
            reason = f"its scanner {self._fate(request.seconds)}"
        except (ValueError, msgspec.MsgspecError):
            lost = True
            reason = "its scanner answered what cannot be understood"
        raise _ChildError(reason, asyncio.get_running_loop().time() - begin, lost)

    async def _asked(self, request: bytes, handles: list[int]) -> bytes:
        writer = self._process.stdin
        assert writer is not None  # noqa: S101  it was asked for
        socket.send_fds(self._files, [b"f"], handles)  # there is room: one message at a time
        writer.write(request)
        await writer.drain()
        return await self._output.readline()

    async def _more(self) -> bool:
        """Whether there is more to read already."""
        try:
            async with asyncio.timeout(0):
                return bool(await self._output.read(1))
        except TimeoutError:
            return False

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
        self._files.close()
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

    def _fate(self, seconds: int) -> str:
        code = self._process.returncode
        if code is None:
            return "closed its output"
        if code == -signal.SIGXCPU:
            return f"used up its {seconds} s of processor time"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended by itself ({code})"
