"""The probe's script against real sockets on loopback."""

import ast
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster import canary_script, probe_script, targets
from sandboxes.cluster.probe_script import Watch

SCRIPT = Path(probe_script.__file__)


@pytest.fixture
def listening() -> Iterator[int]:
    """Nobody accepts, so that its queue has to hold every caller of a test."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def answering(answer: Any = canary_script.dns_answer) -> Iterator[int]:
    """A DNS server over UDP; `answer` None never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    query, caller = server.recvfrom(512)
                except TimeoutError:
                    continue
                if answer is not None:
                    server.sendto(answer(query), caller)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        stop.set()
        thread.join()


def target(port: int, expected: str, host: str = "127.0.0.1", protocol: str = "tcp") -> list[Any]:
    return [expected, host, port, protocol, expected]


def lines(*targets: list[Any]) -> list[list[Any]]:
    watches = [Watch(*target) for target in targets]
    probe_script.probe(watches)
    return [watch.line() for watch in watches]


def test_a_sealed_pod(listening: int, closed: int) -> None:
    blocked, opened = lines(target(closed, "blocked"), target(listening, "open"))
    assert blocked[0] == "blocked"
    assert "refused" in blocked[2].lower()
    assert opened[0] == "open"


def test_an_open_pod(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_script, "BLOCKED_SECONDS", 0.2)
    leaking, _ = lines(target(listening, "blocked"), target(listening, "open"))
    assert leaking[0] == "open"


def test_a_target_that_says_nothing_is_waited_for_only_briefly(listening: int) -> None:
    """What drops packets: a socket nobody accepts from, its queue full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        held = [socket.socket() for _ in range(3)]
        for each in held:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        silent, _ = lines(target(port, "blocked"), target(listening, "open"))
        took = time.monotonic() - began
        for each in held:
            each.close()
    assert silent[0] == "blocked"
    assert silent[2] == "no answer"
    assert probe_script.BLOCKED_WAIT <= took < 2 * probe_script.BLOCKED_WAIT


def test_dns_over_udp(closed: int, listening: int) -> None:
    with answering() as dns, answering(None) as silent:
        seen = lines(
            target(silent, "blocked", protocol="udp"),
            target(closed, "blocked", protocol="udp"),
            target(dns, "open", protocol="udp"),
            target(listening, "open"),
        )
    assert [line[0] for line in seen] == ["blocked", "blocked", "open", "open"]
    assert seen[0][2] == "no answer"
    assert "refused" in seen[1][2].lower()


def test_a_dns_server_that_answers_is_a_leak(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_script, "BLOCKED_SECONDS", 0.2)
    with answering() as dns:
        leaking, _ = lines(target(dns, "blocked", protocol="udp"), target(listening, "open"))
    assert leaking[0] == "open"


def test_an_answer_to_another_question_is_none(listening: int) -> None:
    with answering(lambda query: bytes([query[0] ^ 1]) + canary_script.dns_answer(query)[1:]) as dns:
        seen, _ = lines(target(dns, "blocked", protocol="udp"), target(listening, "open"))
    assert seen[0] == "blocked"


def test_policies_that_come_late(listening: int) -> None:
    """Open at first, closed a moment later: blocked, and the message says it was open."""
    late = socket.create_server(("127.0.0.1", 0))
    threading.Timer(0.4, late.close).start()
    began = time.monotonic()
    found, _ = lines(target(late.getsockname()[1], "blocked"), target(listening, "open"))
    assert found[0] == "blocked"
    assert "open until" in found[2]
    assert time.monotonic() - began < 1.5  # it is tried anew at once


def test_blocked_once_is_not_enough(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    """Open every other time, for as long as the probe has patience."""
    monkeypatch.setattr(probe_script, "BLOCKED_SECONDS", 0.8)
    real, tries = probe_script.Attempt.ready, iter(range(10_000))

    def now_and_then(attempt: probe_script.Attempt) -> None:
        if attempt.watch.expected == "blocked" and next(tries) % 2 == 0:
            attempt.close("blocked", "dropped")
            return
        real(attempt)

    monkeypatch.setattr(probe_script.Attempt, "ready", now_and_then)
    found, _ = lines(target(listening, "blocked"), target(listening, "open"))
    assert found[0] == "open"


def test_an_index_that_opens_late_is_waited_for(closed: int) -> None:
    def open_late() -> None:
        time.sleep(0.5)
        with socket.create_server(("127.0.0.1", late)):
            time.sleep(3)

    with socket.create_server(("127.0.0.1", 0)) as server:
        late = int(server.getsockname()[1])
    thread = threading.Thread(target=open_late)
    thread.start()
    blocked, opened = lines(target(closed, "blocked"), target(late, "open"))
    thread.join()
    assert (blocked[0], opened[0]) == ("blocked", "open")


def test_an_index_that_never_opens(closed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_script, "OPEN_SECONDS", 0.1)
    monkeypatch.setattr(probe_script, "LAST_SECONDS", 0.1)
    _, opened = lines(target(closed, "blocked"), target(closed, "open"))
    assert opened[0] == "blocked"


def test_every_service_must_be_open_at_the_end(
    listening: int, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index was open, so that the test may begin; that the DNS is not is found out all the same."""
    monkeypatch.setattr(probe_script, "LAST_SECONDS", 0.1)
    index = ["index", "127.0.0.1", listening, "tcp", "open"]
    other = ["index", "127.0.0.1", closed, "tcp", "open"]
    dns = ["cluster-dns", "127.0.0.1", closed, "udp", "open"]
    assert [line[0] for line in lines(index, other, dns)] == ["open", "blocked", "blocked"]


def test_the_egress_proxy_is_tried_but_not_waited_for(
    listening: int, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every opening would be seconds later while the proxy is down, which a sandbox can do without."""
    monkeypatch.setattr(probe_script, "LAST_SECONDS", 60.0)
    index = ["index", "127.0.0.1", listening, "tcp", "open"]
    proxy = [targets.PROXY, "127.0.0.1", closed, "tcp", "open"]
    began = time.monotonic()
    assert [line[0] for line in lines(index, proxy)] == ["open", "blocked"]
    assert time.monotonic() - began < 30


def test_the_control_tries_what_is_silent_more_than_once(
    listening: int, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    real = probe_script.Attempt.open

    def count(attempt: probe_script.Attempt, waiting: Any) -> None:
        tries.append(attempt.watch.port)
        real(attempt, waiting)

    monkeypatch.setattr(probe_script.Attempt, "open", count)
    watches = [Watch(*target(port, "open")) for port in (listening, closed)]
    probe_script.control(watches)
    assert [watch.line()[0] for watch in watches] == ["open", "blocked"]
    assert (tries.count(listening), tries.count(closed)) == (1, 1 + probe_script.CONTROL_ROUNDS)


def test_an_error_of_ours_is_not_blocked(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    monkeypatch.setattr(probe_script, "BLOCKED_SECONDS", 0.1)
    wrong, name, _ = lines(
        target(99_999, "blocked"), target(1, "blocked", "index.example"), target(listening, "open")
    )
    assert wrong[0] == name[0] == "error"

    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", fail)
    monkeypatch.setattr(probe_script, "OPEN_SECONDS", 0.1)
    monkeypatch.setattr(probe_script, "LAST_SECONDS", 0.1)
    starved, _ = lines(target(1, "blocked"), target(1, "open"))
    assert starved[0] == "error"


@pytest.mark.parametrize("mode", ["", "control"])
def test_it_runs_as_the_pod_runs_it(listening: int, closed: int, tmp_path: Path, mode: str) -> None:
    targets = [target(closed, "blocked"), *[target(listening, "open")] * 79]
    path = tmp_path / "message"
    path.touch()
    variables = {"PETRIDISH_PROBE_TARGETS": json.dumps(targets), "PETRIDISH_PROBE_MESSAGE": str(path)}
    began = time.time()
    command = [sys.executable, "-I", "-c", SCRIPT.read_text()]
    environment = {**os.environ, **variables, "PETRIDISH_PROBE_MODE": mode}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert time.time() - began < 10
    report = json.loads(path.read_text())
    assert [line[0] for line in report["attempts"]] == ["blocked", *["open"] * 79]
    assert began <= report["at"][0] <= report["at"][1] <= time.time()
    assert done.stdout == f"{probe_script.REPORT_MARK}{path.read_text()}\n"


def test_the_longest_message_fits() -> None:
    """Eighty targets, each with the longest detail: the kubelet cuts at 4096 bytes."""
    watches = [Watch(*target(65535, "open")) for _ in range(80)]
    for watch in watches:
        watch.result, watch.milliseconds, watch.detail = "blocked", 20_000, "d" * 500
    text = probe_script.message(watches, time.time())
    assert len(text) <= 4096
    assert len(json.loads(text)["attempts"]) == 80
    few = probe_script.message(watches[:5], time.time())
    assert json.loads(few)["attempts"][0][2] == "d" * 60  # where there is room, it says more


@pytest.mark.parametrize("script", [probe_script, canary_script])
def test_it_needs_no_new_python(script: Any) -> None:
    text = Path(script.__file__).read_text()
    compile(text, "script", "exec", dont_inherit=True)
    ast.parse(text, feature_version=(3, 8))
