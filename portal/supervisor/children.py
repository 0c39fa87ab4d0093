"""One child process: started, watched, started again when it dies, stopped.

A child has its own session, so that Ctrl-C in a terminal reaches the supervisor
alone and the order of stopping stays ours. What it prints goes to its log.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from portal import env
from sandboxes.errors import PermanentError

LONG_LIFE = 10.0  # seconds; who lived less died quickly
QUICK_DEATHS = 5
LONGEST_PAUSE = 5.0
LOG_LIMIT = 20 * 1024 * 1024  # bytes


@dataclass(frozen=True)
class Spec:
    """What to run: `python -m` `command`, with `environ`; `ready` says whether it is at work."""

    name: str
    command: list[str]
    environ: Mapping[str, str]
    log: Path
    ready: Callable[[], bool]
    ready_file: Path | None = None  # the child makes it once it is at work


class Child:
    def __init__(self, spec: Spec, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self._say = say
        self._leash: int | None = None  # our end of the pipe; see leash.py
        self._started = 0.0
        self._quick_deaths = 0
        self._start_at: float | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    def start(self) -> None:
        if self.spec.ready_file:
            self.spec.ready_file.unlink(missing_ok=True)
        self._let_go()
        theirs, self._leash = os.pipe()
        # Appending: the file can be cut short under the child, which goes on writing at its end.
        with self.spec.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portal.supervisor.leash", str(theirs), *self.spec.command],
                cwd=env.ROOT,
                env=dict(self.spec.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        self._started = time.monotonic()
        self._start_at = None

    def watch(self) -> None:
        """Starts a dead child again, after a pause that grows; gives up on one that only dies."""
        if self._start_at is not None:
            if time.monotonic() >= self._start_at:
                self.start()
        elif self.process is not None and self.process.poll() is not None:
            self._died(self.process.returncode)
        self._trim_log()

    def is_ready(self) -> bool:
        return self.process is not None and self.process.poll() is None and self.spec.ready()

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """The whole session: children of the child too."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait()
        self._let_go()

    def is_gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _died(self, code: int) -> None:
        # Who was killed from outside (by a person, or for want of memory) did not fail to come up.
        quick = time.monotonic() - self._started < LONG_LIFE and code != -signal.SIGKILL
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        if self._quick_deaths >= QUICK_DEATHS:
            raise PermanentError(f"{self.name} does not come up; see {self.spec.log}.")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._say(f"{self.name} stopped ({how}) and is started again; its log is {self.spec.log}.")
        self._start_at = time.monotonic() + min(0.2 * 2**self._quick_deaths, LONGEST_PAUSE)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def _let_go(self) -> None:
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None

    def _trim_log(self) -> None:
        with suppress(FileNotFoundError):  # somebody else may rotate it
            if self.spec.log.stat().st_size > LOG_LIMIT:
                rotate(self.spec.log)


def rotate(log: Path) -> None:
    """The log becomes `NAME.log.1` and is empty again, while a child may be writing to it."""
    if log.exists():
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def stop(children: list[Child], grace: float, in_a_hurry: Callable[[], bool]) -> None:
    """Asks all, waits together at most `grace` seconds, then kills what is left."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and not in_a_hurry() and not all(child.is_gone() for child in children):
        time.sleep(0.02)
    for child in children:
        child.kill()
