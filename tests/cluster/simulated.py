"""A simulated cluster as a process of its own, which a test may also kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Simulator:
    """Started on a free port; the same data and port again after a restart."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def kubeconfig(self) -> str:
        return str(self.data / "kubeconfig")

    @property
    def token(self) -> str:
        return (self.data / "token").read_text()

    def start(self) -> None:
        port = self.url.rpartition(":")[2] or "0"
        command = [
            sys.executable,
            "-m",
            "sandboxes.cluster.simulator",
            "--data",
            str(self.data),
            "--port",
            port,
        ]
        self._process = subprocess.Popen(
            [*command, *self._arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ.copy()
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "ready" in line, line
        self.url = line.split()[-1]

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        self._process = None
        process.send_signal(number)
        assert process.stdout is not None
        process.stdout.close()
        return process.wait(timeout=10)
