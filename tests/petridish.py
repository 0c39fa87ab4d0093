"""The whole of Petridish as `make run` starts it, for tests: own data folder, free ports, nothing shared."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.simulator import free_port

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 150.0  # seconds; the machine may be busy with other tests
NOWHERE = "http://127.0.0.1:9/simple/"
READY = "Petridish is ready: "
CHILDREN = (
    "simulator", "uvicorn", "sandboxes.index", "sandboxes.index.egress", "queue worker", "queue beat",
    "sandboxes.lifecycle.watcher", "sandboxes.index.screening",
)  # fmt: skip


class Petridish:
    """One `python -m portal.run`. `lines` is what it printed so far."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.port, self.index_port, self.egress_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.index_url = f"http://127.0.0.1:{self.index_port}"
        self.egress_url = f"http://127.0.0.1:{self.egress_port}"
        self.output = data_dir.with_name(data_dir.name + ".out")
        given = {
            "DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "INDEX_PORT": str(self.index_port),
            "EGRESS_PROXY_PORT": str(self.egress_port),
            "INDEX_UPSTREAM": NOWHERE,
        }
        kept = {name: value for name in ("PATH", "HOME", "LANG") if (value := os.environ.get(name))}
        self.environ = kept | given | settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> float:
        """Starts and waits until it says that it is ready; returns how long that took."""
        started = time.monotonic()
        self.spawn()
        wait_for(lambda: self._said_ready() or self.is_gone())
        assert self._said_ready(), self._why()
        return time.monotonic() - started

    def spawn(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portal.run"],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def is_gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def children(self) -> dict[str, psutil.Process]:
        """By name, those the supervisor started and restarts."""
        found = {}
        for process in psutil.Process(self.pid).children():
            command = _command(process)
            for name in CHILDREN:
                if f"{name} " in command:
                    found[name] = process
        return found

    def processes(self) -> list[psutil.Process]:
        """Every process that has to do with this data folder or these ports, PostgreSQL among them."""
        marks = (str(self.data_dir), f"--port {self.port} ")
        return [process for process in psutil.process_iter() if _mentions(process, marks)]

    def login(self, username: str) -> dict[str, str]:
        logins: list[dict[str, str]] = json.loads((self.data_dir / "demo.json").read_text())
        return next(login for login in logins if login["username"] == username)

    def _said_ready(self) -> bool:
        return f"{READY}{self.url}" in self.lines

    def _why(self) -> str:
        logs = [f"== {log.name}\n{log.read_text()[-2000:]}" for log in self.data_dir.glob("logs/*.log")]
        return "\n".join([*self.lines, *logs])


@contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[Petridish]:
    """Started and ready; afterwards nothing of it is left, whatever the test did."""
    petridish = Petridish(data_dir, **settings)
    try:
        petridish.start()
        yield petridish
    finally:
        if not petridish.is_gone():
            petridish.stop()
        for process in petridish.processes():
            process.kill()


def sign_in(client: httpx.Client, username: str, password: str, then: str = "/") -> httpx.Response:
    """As the sign-in page has it done: fetch the form, send it with its token."""
    page = client.get("/accounts/login/", params={"next": then})
    form = {"csrfmiddlewaretoken": csrf_token(page), "login": username, "password": password, "next": then}
    return client.post("/accounts/login/", data=form)


def csrf_token(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def wait_for(holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _mentions(process: psutil.Process, marks: tuple[str, ...]) -> bool:
    return any(mark in _command(process) for mark in marks)


def _command(process: psutil.Process) -> str:
    """Nothing, for one that has ended meanwhile."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline()) + " "
    except psutil.Error:
        return ""
