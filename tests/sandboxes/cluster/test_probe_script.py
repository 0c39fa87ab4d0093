"""The probe's script against real sockets on loopback."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster import probe_script

SCRIPT = Path(probe_script.__file__)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def target(port: int, expected: str, host: str = "127.0.0.1") -> dict[str, Any]:
    return {"name": expected, "host": host, "port": port, "expected": expected}


def lines(*targets: dict[str, Any]) -> list[list[Any]]:
    return [watch.line() for watch in probe_script.probe(list(targets))]


def test_a_sealed_pod(listening: int, closed: int) -> None:
    blocked, opened = lines(target(closed, "blocked"), target(listening, "open"))
    assert blocked[0] == "blocked"
    assert "refused" in blocked[2].lower()
    assert opened[0] == "open"


def test_an_open_pod(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_script, "BLOCKED_SECONDS", 0.2)
    leaking, _ = lines(target(listening, "blocked"), target(listening, "open"))
    assert leaking[0] == "open"


def test_policies_that_come_late(listening: int) -> None:
    """Open at first, closed a moment later: blocked, and the message says it was open."""
    late = socket.create_server(("127.0.0.1", 0))
    threading.Timer(0.4, late.close).start()
    found, _ = lines(target(late.getsockname()[1], "blocked"), target(listening, "open"))
    assert found[0] == "blocked"
    assert "open until" in found[2]


def test_blocked_once_is_not_enough(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    answers = {"blocked": iter([("open", ""), ("blocked", "")] * 50)}
    monkeypatch.setattr(probe_script, "BLOCKED_SECONDS", 0.6)
    monkeypatch.setattr(
        probe_script, "connect", lambda host, port: next(answers["blocked"]) if port == 1 else ("open", "")
    )
    found, _ = lines(target(1, "blocked"), target(listening, "open"))
    assert found[0] in ("error", "open")


def test_an_index_that_never_opens(closed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_script, "OPEN_SECONDS", 0.1)
    _, opened = lines(target(closed, "blocked"), target(closed, "open"))
    assert opened[0] == "blocked"


def test_an_error_of_ours_is_not_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "create_connection", fail)
    assert probe_script.connect("192.0.2.1", 1)[0] == "error"
    assert probe_script.connect("192.0.2.1", 99_999)[0] == "error"


def test_it_runs_as_the_pod_runs_it(listening: int, closed: int, tmp_path: Path) -> None:
    targets = [target(closed, "blocked"), *[target(listening, "open")] * 29]
    message = tmp_path / "message"
    message.touch()
    variables = {"PETRIDISH_PROBE_TARGETS": json.dumps(targets), "PETRIDISH_PROBE_MESSAGE": str(message)}
    started = time.monotonic()
    command = [sys.executable, "-I", "-c", SCRIPT.read_text()]
    subprocess.run(command, env={**os.environ, **variables}, check=True)
    assert time.monotonic() - started < 10
    assert len(message.read_bytes()) <= 4096
    report = json.loads(message.read_text())
    assert [line[0] for line in report["attempts"]] == ["blocked", *["open"] * 29]


def test_the_longest_message_fits() -> None:
    """Thirty targets, each with the longest detail: the kubelet cuts at 4096 bytes."""
    line = ["blocked", 1500, "d" * 60]
    text = json.dumps({"v": 1, "attempts": [line] * 30}, separators=(",", ":"))
    assert len(text) <= 4096


def test_it_needs_no_new_python() -> None:
    compile(SCRIPT.read_text(), "probe_script", "exec", dont_inherit=True)
    import ast

    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
