"""Reading logs: which containers a pod's status knows of, and what bounds the reading."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.keeping import Container, containers_of
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError
from tests.sandboxes.cluster.stub import Answer, Stub, found, status

AT = "2026-11-01T10:00:00Z"
ENDED = {"containerID": "c://1", "exitCode": 3, "reason": "Error", "startedAt": AT, "finishedAt": AT}
ONE = Container("w", "u", "n", "c", "c://1", previous=False, running=False)


def pod(**entry: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "w", "uid": "u"},
        "spec": {"nodeName": "n"},
        "status": {"containerStatuses": [{"name": "c", **entry}]},
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"containerID": "c://2", "state": {"running": {"startedAt": AT}}}, [("c://2", False, True)]),
        (
            {
                "containerID": "c://2",
                "state": {"running": {"startedAt": AT}},
                "lastState": {"terminated": ENDED},
            },
            [("c://2", False, True), ("c://1", True, False)],
        ),
        ({"state": {"terminated": ENDED}}, [("c://1", False, False)]),
        (
            {
                "state": {"terminated": {**ENDED, "containerID": "c://2"}},
                "lastState": {"terminated": ENDED},
            },
            [("c://2", False, False), ("c://1", True, False)],
        ),
        # Frozen: what was stopped is read as if it were there.
        (
            {"state": {"waiting": {"reason": "InvalidImageName"}}, "lastState": {"terminated": ENDED}},
            [("c://1", False, False)],
        ),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, [("", False, False)]),
        ({}, [("", False, False)]),
    ],
)
def test_the_present_one_and_the_one_before(
    entry: dict[str, Any], expected: list[tuple[str, bool, bool]]
) -> None:
    assert [(each.id, each.previous, each.running) for each in containers_of(pod(**entry))] == expected


def test_what_is_known_of_one_that_ended() -> None:
    (one,) = containers_of(pod(state={"terminated": ENDED}))
    assert (one.pod, one.pod_uid, one.node, one.name) == ("w", "u", "n", "c")
    assert (one.exit_code, one.reason, one.key) == (3, "Error", "c://1")
    assert one.finished_at is not None
    (never,) = containers_of(pod(state={"waiting": {"reason": "ErrImagePull"}}))
    assert (never.reason, never.key, never.started_at) == ("ErrImagePull", "u/c", None)


def test_containers_of_every_sort_are_read() -> None:
    item = pod(state={"terminated": ENDED})
    item["status"]["initContainerStatuses"] = [{"name": "first", "state": {"terminated": ENDED}}]
    item["status"]["ephemeralContainerStatuses"] = [{"name": "debug", "state": {"running": {}}}]
    assert [each.name for each in containers_of(item)] == ["first", "c", "debug"]


def query_of(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def logging(stub: Stub, lines: list[bytes]) -> None:
    """As the API server: the last so many lines, and of these the first so many bytes."""

    def answer(method: str, path: str) -> Answer:
        query = query_of(path)
        data = b"".join(lines[-int(query["tailLines"]) :])
        return 200, {}, data[: int(query["limitBytes"])]

    stub.answer = answer


def test_the_log_as_it_is(stub: tuple[Stub, int], cluster: Cluster) -> None:
    logging(stub[0], [b"a\xff\0\n", b"b"])
    log = cluster.logs("sbx-a", ONE, most=1000, seconds=5)
    assert (log.data, log.cut_short) == (b"a\xff\0\nb", False)
    assert query_of(stub[0].asked[-1][1]) == {
        "container": "c",
        "tailLines": "20000",
        "limitBytes": "1000",
        "timestamps": "true",
        "previous": "false",
    }


def test_of_a_long_one_the_end_is_kept(stub: tuple[Stub, int], cluster: Cluster) -> None:
    """Whoever wants to hide a line would only have to write many."""
    logging(stub[0], [b"x" * 99 + b"\n"] * 50_000 + [b"the end\n"])
    log = cluster.logs("sbx-a", ONE, most=300_000, seconds=5)
    assert log.data.endswith(b"the end\n")
    assert log.cut_short
    assert len(log.data) <= 300_000
    assert [query_of(path)["tailLines"] for _, path, _ in stub[0].asked] == ["20000", "2000"]


def test_a_server_that_keeps_to_no_limit_is_held_to_it(stub: tuple[Stub, int], cluster: Cluster) -> None:
    stub[0].answer = lambda method, path: (200, {}, b"y" * 500_000)
    log = cluster.logs("sbx-a", ONE, most=1000, seconds=5)
    assert (len(log.data), log.cut_short) == (1000, True)


def test_a_refusal_and_a_node_that_is_silent(stub: tuple[Stub, int], cluster: Cluster) -> None:
    stub[0].answer = lambda method, path: status(400, "container is waiting to start")
    with pytest.raises(ClusterRefusedError, match="waiting to start"):
        cluster.logs("sbx-a", ONE, most=1000, seconds=5)

    def silent(method: str, path: str) -> Answer:
        stub[0].release.wait(30)
        return found({})

    stub[0].answer = silent
    with pytest.raises(ClusterUnavailableError, match="does not answer"):
        cluster.logs("sbx-a", ONE, most=1000, seconds=0.2)
    with pytest.raises(ClusterUnavailableError, match="does not answer"):
        cluster.policies("sbx-a", seconds=0.2)


def test_there_are_more_policies_than_are_kept(stub: tuple[Stub, int], cluster: Cluster) -> None:
    stub[0].answer = lambda method, path: found({"metadata": {"continue": "x"}, "items": [{"a": 1}]})
    assert cluster.policies("sbx-a", seconds=5) == ([{"a": 1}], True)
