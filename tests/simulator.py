"""A simulated cluster as a process of its own, which a test may also kill."""

import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
MODULE = "sandboxes.cluster.simulator"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Simulator:
    """Started on a free port; the same data and port again after a restart. `run`: the module, and what comes first."""

    def __init__(self, folder: Path, *options: str, run: tuple[str, ...] = (MODULE,)) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.port = 0
        self._options = options
        self._run = run
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        where = ["--data", str(self.folder), "--port", str(self.port)]
        command = [sys.executable, "-m", *self._run, *where, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # one line, when it is ready
        assert "ready" in line, line
        self.port = int(line.rpartition(":")[2])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As a power cut would: nothing is asked."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
