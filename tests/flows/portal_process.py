"""`make run` as a process: started with a folder and ports of its own, stopped as a person would."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.simulator import ROOT, free_port

PATIENCE = 90.0  # seconds; a new database is made on the way


class PortalProcess:
    """`with PortalProcess(folder) as portal:` waits for the ready line; leaving stops everything."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.data_dir = folder / "data"
        port, index_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        names = ("DATABASE_URL", "PETRIDISH_TEST_RUN", "KUBECONFIG", "PYTHONWARNINGS")
        kept = {key: value for key, value in os.environ.items() if key not in names}
        own = {"DATA_DIR": str(self.data_dir), "PORT": str(port), "INDEX_PORT": str(index_port)}
        self.environ = {**kept, **own, **(settings or {})}
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._ready.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "portal.run"],
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        if not self._ready.wait(PATIENCE) or self._process.poll() is not None:
            self.stop()
            raise RuntimeError("Petridish did not start:\n" + "".join(self.lines))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            if line.startswith("Petridish is ready:"):
                self._ready.set()
        self._ready.set()  # it ended: whoever waits looks at the exit code

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """The exit code, after everything is down."""
        assert self._process is not None
        assert self._reader is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        code = self._process.wait(30)
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def people(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.data_dir / "demo.json").read_text())
        return found

    def database_url(self) -> str:
        return (self.data_dir / "database_url").read_text().strip()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
