"""The border to a cluster's API: whatever it answers, only our own errors get through."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from sandboxes.cluster import api
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observation import listing
from sandboxes.cluster.spec import Labels
from sandboxes.cluster.watching import policy_changes
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, TemporaryError
from tests.sandboxes.cluster.stub import Answer, Stub, found, status


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        (status(429, "slow down", Retry_After="7"), 7.0),
        (status(503, "overloaded", Retry_After="2"), 2.0),
        (status(500, "broken"), None),
        (status(504, "late", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
        (status(503, "busy", Retry_After="soon"), None),
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


def test_the_pacer_is_asked_before_every_request(stub: tuple[Stub, int], cluster: Cluster) -> None:
    """Its refusal is the caller's, and nothing is sent."""

    def too_fast() -> None:
        raise TemporaryError("slow down", retry_after=3)

    stub[0].answer = lambda method, path: status(404, "no such thing")
    counted: list[int] = []
    cluster.api._pacer = lambda: counted.append(len(stub[0].asked))
    cluster.namespace("x")
    assert counted == [0]
    cluster.api._pacer = too_fast
    with pytest.raises(TemporaryError, match="slow down") as caught:
        cluster.namespace("x")
    assert caught.value.retry_after == 3
    assert len(stub[0].asked) == 1


def test_a_merge_patch_is_sent_as_the_object_that_it_is(stub: tuple[Stub, int], cluster: Cluster) -> None:
    stub[0].answer = lambda method, path: found({"metadata": {}})
    cluster.api.merge("/api/v1/namespaces/x", {"metadata": {"labels": {"a": "b"}}})
    assert json.loads(stub[0].bodies[0]) == {"metadata": {"labels": {"a": "b"}}}


# ---- watches


def events(*lines: dict[str, Any]) -> Answer:
    return 200, {}, b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    return {
        "type": kind,
        "object": {"metadata": {"name": name, "namespace": name, "resourceVersion": version}},
    }


def test_a_watch_that_is_too_old_starts_over_and_goes_on(stub: tuple[Stub, int], cluster: Cluster) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "12"}}}
    answers = iter(
        [
            found({"metadata": {"resourceVersion": "10"}, "items": []}),
            events(event("ADDED", "a", "11"), bookmark),
            events(gone),
            found({"metadata": {"resourceVersion": "20"}, "items": []}),
            status(410, "too old"),
            found({"metadata": {"resourceVersion": "30"}, "items": []}),
            events(event("DELETED", "b", "31")),
            status(500, "broken"),
        ]
    )
    stub[0].answer = lambda method, path: next(answers)
    names = policy_changes(cluster, "i", 30)
    assert [next(names), next(names)] == ["a", "b"]
    with pytest.raises(ClusterUnavailableError, match="500"):
        next(names)
    versions = [path.partition("resourceVersion=")[2].partition("&")[0] for _, path, _ in stub[0].asked]
    assert versions == ["", "10", "12", "", "20", "", "30", "31"]
    assert "allowWatchBookmarks=true" in stub[0].asked[1][1]


def test_a_watch_that_breaks_is_unavailable(stub: tuple[Stub, int], cluster: Cluster) -> None:
    broken = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}}
    answers = iter([found({"metadata": {"resourceVersion": "1"}, "items": []}), events(broken)])
    stub[0].answer = lambda method, path: next(answers)
    with pytest.raises(ClusterUnavailableError, match="etcd is away"):
        list(policy_changes(cluster, "i", 30))


# ---- listings


def test_a_counted_listing_that_expires_counts_nothing_twice(
    stub: tuple[Stub, int], cluster: Cluster
) -> None:
    home = {"metadata": {"name": "n", "uid": "u", "labels": {}}}
    objects = [
        {"metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "1"}} for name in "ab"
    ]

    def whole(method: str, path: str) -> Answer:
        if path.startswith("/api/v1/namespaces?"):
            return found({"metadata": {}, "items": [home]})
        return found({"metadata": {}, "items": objects if "networkpolicies" in path else []})

    stub[0].answer = whole
    wanted = listing(cluster, "i").namespaces["n"].digest
    expired = iter([True, False])

    def half(method: str, path: str) -> Answer:
        if "networkpolicies" not in path:
            return whole(method, path)
        if "continue" not in path:
            return found({"metadata": {"continue": "t"}, "items": objects[:1]})
        return status(410, "too old") if next(expired) else found({"metadata": {}, "items": objects[1:]})

    stub[0].answer = half
    assert listing(cluster, "i").namespaces["n"].digest == wanted
    assert "as=PartialObjectMetadataList" in stub[0].asked[-1][2]["Accept"]


def test_a_listings_memory_does_not_grow_with_objects(stub: tuple[Stub, int], cluster: Cluster) -> None:
    """Two hundred pages of one namespace's policies, and never more than a few of them in memory."""
    home = {"metadata": {"name": "n", "uid": "u", "labels": {}}}

    def many(method: str, path: str) -> Answer:
        if path.startswith("/api/v1/namespaces?"):
            return found({"metadata": {}, "items": [home]})
        if "networkpolicies" not in path:
            return found({"metadata": {}, "items": []})
        page = int(path.partition("continue=")[2] or 0)
        names = (f"{page}-{number}-{'x' * 200}" for number in range(100))
        items = [{"metadata": {"name": n, "namespace": "n", "uid": n, "resourceVersion": "1"}} for n in names]
        return found({"metadata": {"continue": str(page + 1)} if page < 200 else {}, "items": items})

    stub[0].answer = many
    stub[0].remembers = False
    tracemalloc.start()
    try:
        listing(cluster, "i")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000  # all of them would be more than 20 MB


@pytest.mark.parametrize("minutes", [-10, 10])
@pytest.mark.parametrize(("seconds", "failed"), [(30, False), (150, True)])
def test_how_long_a_pod_waits_for_a_node_is_told_by_the_clusters_own_clock(
    stub: tuple[Stub, int], cluster: Cluster, minutes: int, seconds: int, failed: bool
) -> None:
    """Ten minutes off, as a worker sees it: nothing is given up too soon, and nothing too late."""
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    since = (now - timedelta(seconds=seconds)).isoformat()
    waits = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "lastTransitionTime": since,
    }
    pod = {"metadata": {"name": "p", "uid": "1"}, "spec": {}, "status": {"conditions": [waits]}}
    workload = {"metadata": {"name": "w", "uid": "2"}, "spec": {"replicas": 1}, "status": {}}

    def answer(method: str, path: str) -> Answer:
        items = [pod] if "/pods" in path else [workload] if "/statefulsets" in path else []
        code, _, body = found({"metadata": {}, "items": items})
        return code, {"Date": format_datetime(now, usegmt=True)}, body

    stub[0].answer = answer
    state = cluster.workspace("x")
    assert "Unschedulable" in state.message
    assert state.failed is failed
