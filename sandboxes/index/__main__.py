"""`python -m sandboxes.index`: serves until SIGTERM or Ctrl-C; starts its workers anew on SIGHUP.

This process only holds the socket and looks after its workers (`worker.py`, INDEX_PROCESSES of them). One
that dies is replaced. On SIGHUP new ones are started, with the code and the settings' files as they are
then, and only when all of them serve are the old ones told to end: the socket is open all the
time, and each request is answered by one or the other.
"""

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from sandboxes.errors import InvalidInputError
from sandboxes.index import config
from sandboxes.index.listening import GRACE, listen

logger = logging.getLogger("sandboxes.index")

_START: Final = 60.0  # seconds that a worker may take until it serves
_END: Final = GRACE + 8.0  # seconds that it may take to end
_PAUSE: Final = 1.0  # seconds before one that died is replaced
# glibc gives each thread a heap of its own, and keeps what is freed there: with a few threads that come and go,
# a worker's memory would creep up for hours. An operator's own word counts more.
_MEMORY: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "131072"}


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[bytes]
    ready: int


class Parent:
    def __init__(self, listening: socket.socket, count: int) -> None:
        self._listening = listening
        self._count = count
        self._workers: list[_Worker] = []
        self._life, self._alive = os.pipe()  # the second end is ours alone: it closes when we die
        self._told, self._tell = os.pipe()
        for end in (self._told, self._tell):
            os.set_blocking(end, False)

    def run(self) -> None:
        signal.set_wakeup_fd(self._tell)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        try:
            self._workers = self._started()
            while True:
                told = self._wait()
                if told & {signal.SIGTERM, signal.SIGINT}:
                    return
                if signal.SIGHUP in told:
                    self._renew()
                self._replace_the_dead()
        finally:
            self._end(self._workers)

    def _wait(self) -> set[int]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._told, selectors.EVENT_READ)
            selector.select()
        return set(os.read(self._told, 4096))

    def _started(self) -> list[_Worker]:
        """As many as there are to be, all of them serving. Raises `RuntimeError` and leaves none."""
        workers = [self._spawn() for _ in range(self._count)]
        until = monotonic() + _START
        for worker in workers:
            if not _serves(worker, until):
                self._end(workers)
                raise RuntimeError("a worker did not come to serve; its log says why")
        logger.info("%d workers serve", len(workers))
        return workers

    def _renew(self) -> None:
        try:
            workers = self._started()
        except RuntimeError as error:
            logger.error("the old workers go on: %s", error)
            return
        self._workers, old = workers, self._workers
        self._end(old)

    def _replace_the_dead(self) -> None:
        for number, worker in enumerate(self._workers):
            if worker.process.poll() is not None:
                logger.error("a worker ended with %s; it is replaced", worker.process.returncode)
                os.close(worker.ready)
                sleep(_PAUSE)  # not a busy loop when they cannot live
                self._workers[number] = self._spawn()

    def _spawn(self) -> _Worker:
        ready, say = os.pipe()
        given = (self._listening.fileno(), self._life, say)
        process = subprocess.Popen(
            [sys.executable, "-m", "sandboxes.index.worker", *map(str, given)],
            pass_fds=given,
            env=_MEMORY | os.environ,
        )
        os.close(say)
        return _Worker(process, ready)

    @staticmethod
    def _end(workers: list[_Worker]) -> None:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.process.terminate()
        until = monotonic() + _END
        for worker in workers:
            try:
                worker.process.wait(max(0.1, until - monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            os.close(worker.ready)


def _serves(worker: _Worker, until: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(worker.ready, selectors.EVENT_READ)
        if not selector.select(max(0.0, until - monotonic())):
            return False
    return os.read(worker.ready, 1) != b""


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = config.read()
        upstreams = ", ".join(f"{source.name} {source.url}" for source in settings.sources) or "none"
        with listen(settings.bind, settings.port) as listening:
            logger.info("index on http://%s:%s, upstreams: %s", settings.bind, settings.port, upstreams)
            Parent(listening, settings.processes).run()
    except (InvalidInputError, OSError, RuntimeError) as error:
        sys.stderr.write(f"The index cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
