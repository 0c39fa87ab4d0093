"""The border to a cluster's API: whatever it answers, only our own errors get through."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster import api
from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.spec import Labels
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError

type Answer = tuple[int, dict[str, str], bytes]
type Script = Callable[[str, str], Answer]


def status(code: int, message: str, **headers: str) -> Answer:
    body = {"kind": "Status", "code": code, "message": message}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return code, names, json.dumps(body).encode()


def found(body: dict[str, Any]) -> Answer:
    return 200, {}, json.dumps(body).encode()


class Stub:
    """An API server that says what a test tells it to, and remembers what was asked."""

    def __init__(self) -> None:
        self.answer: Script = lambda method, path: status(500, "unset")
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.release = threading.Event()


@pytest.fixture
def stub() -> Iterator[tuple[Stub, int]]:
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            stub.asked.append((self.command, self.path, dict(self.headers)))
            stub.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            code, headers, body = stub.answer(self.command, self.path)
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield stub, server.server_port
    stub.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cluster(stub: tuple[Stub, int], tmp_path: Path) -> Iterator[Cluster]:
    config = {
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{stub[1]}"}}],
        "users": [{"name": "x", "user": {"token": "s3cret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = connect(name="stub", kubeconfig=str(tmp_path / "kubeconfig"), context=None)
    yield cluster
    cluster.close()


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        (status(429, "slow down", Retry_After="7"), 7.0),
        (status(503, "overloaded", Retry_After="2"), 2.0),
        (status(500, "broken"), None),
        (status(504, "late", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), None),
        ((502, {}, b"<html>bad gateway</html>"), None),
        (status(409, 'Operation cannot be fulfilled on x "y": the object has been modified'), 1.0),
        (status(403, 'pods "x" is forbidden: status unknown for quota: sandbox'), 1.0),
        ((200, {}, b"<html>a login page</html>"), None),
        ((200, {}, b"[]"), None),
    ],
)
def test_what_may_pass_is_unavailable(
    stub: tuple[Stub, int], cluster: Cluster, answer: Answer, retry_after: float | None
) -> None:
    stub[0].answer = lambda method, path: answer
    with pytest.raises(ClusterUnavailableError) as caught:
        cluster.namespace("x")
    assert caught.value.retry_after == retry_after
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("code", [400, 401, 403, 405, 409, 415, 422])
def test_what_will_not_pass_is_refused(stub: tuple[Stub, int], cluster: Cluster, code: int) -> None:
    stub[0].answer = lambda method, path: status(code, "no, because")
    with pytest.raises(ClusterRefusedError, match=rf"Cluster stub refused GET .* \({code}\): no, because"):
        cluster.namespace("x")


def test_no_answer_in_time_is_unavailable(
    stub: tuple[Stub, int], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(method: str, path: str) -> Answer:
        stub[0].release.wait(10)
        return status(500, "too late")

    stub[0].answer = hang
    monkeypatch.setattr(api, "READ_SECONDS", 0.1)
    with pytest.raises(ClusterUnavailableError, match="stub does not answer"):
        cluster.namespace("x")


def test_nothing_is_sent_twice(stub: tuple[Stub, int], cluster: Cluster) -> None:
    stub[0].answer = lambda method, path: status(503, "busy")
    with pytest.raises(ClusterUnavailableError):
        cluster.namespace("x")
    assert len(stub[0].asked) == 1
    assert stub[0].asked[0][2]["authorization"] == "Bearer s3cret"


def item(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "labels": {}}}


def test_a_listing_that_expires_starts_over_and_repeats_nothing(
    stub: tuple[Stub, int], cluster: Cluster
) -> None:
    answers = iter(
        [
            found({"metadata": {"continue": "t1"}, "items": [item("a"), item("b")]}),
            status(410, "too old"),
            found({"metadata": {"continue": "t2"}, "items": [item("a"), item("b")]}),
            found({"metadata": {}, "items": [item("c")]}),
        ]
    )
    stub[0].answer = lambda method, path: next(answers)
    assert [state.name for state in cluster.namespaces("i")] == ["a", "b", "c"]
    assert "continue=t2" in stub[0].asked[-1][1]
    assert "labelSelector=petridish.dev/installation%3Di" in stub[0].asked[-1][1]


def test_a_listing_that_always_expires_is_unavailable(stub: tuple[Stub, int], cluster: Cluster) -> None:
    stub[0].answer = lambda method, path: status(410, "too old")
    with pytest.raises(ClusterUnavailableError, match="410"):
        list(cluster.namespaces("i"))
    assert len(stub[0].asked) == 3


def test_without_an_api_server_address_there_is_nothing_to_prove(
    stub: tuple[Stub, int], cluster: Cluster
) -> None:
    stub[0].answer = lambda method, path: found({"metadata": {}, "items": []})
    with pytest.raises(ClusterRefusedError, match="no address of its API server"):
        cluster.default_blocked_targets()
    assert cluster.dns_addresses() == ()


def test_a_loopback_api_server_is_no_target(stub: tuple[Stub, int], cluster: Cluster) -> None:
    """From inside a pod, 127.0.0.1 is the pod itself: always closed, so it proves nothing."""
    endpoint = {"endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"port": 6443}], **item("kubernetes")}
    stub[0].answer = lambda method, path: found({"metadata": {}, "items": [endpoint]})
    with pytest.raises(ClusterRefusedError, match="no address of its API server"):
        cluster.default_blocked_targets()


def test_a_namespace_is_deleted_by_its_uid(stub: tuple[Stub, int], cluster: Cluster) -> None:
    """The server decides, at the very moment: looking before would leave a gap."""
    labels = {Labels.SANDBOX: "7", Labels.INSTALLATION: "i"}
    stub[0].answer = lambda method, path: found({"metadata": {"name": "n", "uid": "u-1", "labels": labels}})
    cluster.delete_namespace("n", "u-1")
    assert [method for method, _, _ in stub[0].asked] == ["GET", "DELETE"]
    assert stub[0].asked[1][1] == "/api/v1/namespaces/n"
    assert json.loads(stub[0].bodies[1])["preconditions"] == {"uid": "u-1"}


def test_a_namespace_with_another_uid_is_not_even_asked_for(stub: tuple[Stub, int], cluster: Cluster) -> None:
    labels = {Labels.SANDBOX: "7", Labels.INSTALLATION: "i"}
    stub[0].answer = lambda method, path: found({"metadata": {"name": "n", "uid": "u-2", "labels": labels}})
    with pytest.raises(ClusterRefusedError, match="another one than ours"):
        cluster.delete_namespace("n", "u-1")
    assert [method for method, _, _ in stub[0].asked] == ["GET"]
