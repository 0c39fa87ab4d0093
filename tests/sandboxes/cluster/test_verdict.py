"""What a run proves, and what it does not: a dead target, a dead network and a dead index are told apart."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sandboxes.cluster.spec import Answer, Attempt, Control, Expected, Outcome, ProbeResult, Protocol
from sandboxes.cluster.verdict import Outcome as Said
from sandboxes.cluster.verdict import distance, is_before, judge


def attempt(
    name: str, expected: Expected, result: Outcome, port: int = 1, protocol: Protocol = "tcp"
) -> Attempt:
    return Attempt(name, "192.0.2.1", port, expected, result, 600, "", protocol)


CANARY = attempt("canary", "blocked", "blocked", 8080)
API = attempt("api-server", "blocked", "blocked", 6443)
METADATA = attempt("metadata", "blocked", "blocked", 80)
DNS = attempt("cluster-dns", "open", "open", 53, "udp")
INDEX = attempt("index", "open", "open", 8081)
PROXY = attempt("egress-proxy", "open", "open", 8082)
SEALED = (CANARY, API, METADATA, DNS, INDEX, PROXY)


def result(*attempts: Attempt) -> ProbeResult:
    return ProbeResult(passed=True, simulated=False, attempts=attempts)


def control(*silent: Attempt, milliseconds: int = 2) -> Control:
    answers = tuple(
        Answer(each.host, each.port, each.protocol, each not in silent, milliseconds) for each in SEALED
    )
    return Control("control-1", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:02+00:00", answers)


def test_a_seal_that_holds() -> None:
    verdict = judge(result(*SEALED), control())
    assert (verdict.outcome, verdict.reasons) == (Said.HOLDS, ())
    assert {each.control for each in verdict.attempts} == {"answered"}


def test_a_dead_target_is_shown_as_such_and_proves_nothing() -> None:
    verdict = judge(result(*SEALED), control(METADATA))
    assert verdict.outcome == Said.HOLDS
    words = {each.target: (each.result, each.control) for each in verdict.attempts}
    assert words["metadata"] == ("blocked", "silent")
    assert words["canary"] == ("blocked", "answered")


@pytest.mark.parametrize(
    ("silent", "reason"), [(CANARY, "no answer from the canary"), (API, "no answer from the API server")]
)
def test_without_a_live_neighbour_or_the_api_server_nothing_is_proven(silent: Attempt, reason: str) -> None:
    verdict = judge(result(*SEALED), control(silent))
    assert verdict.outcome == Said.UNPROVEN
    assert reason in verdict.reasons[0]


def test_one_address_of_the_api_server_is_enough() -> None:
    service = replace(API, target="api-service", port=443)
    known = control(API)
    more = replace(
        known, answers=(*known.answers, Answer(service.host, 443, "tcp", open=True, milliseconds=1))
    )
    assert judge(result(*SEALED, service), more).outcome == Said.HOLDS


def test_a_control_that_never_tried_it_vouches_for_nothing() -> None:
    verdict = judge(result(*SEALED), replace(control(), answers=()))
    assert verdict.outcome == Said.UNPROVEN
    assert {each.control for each in verdict.attempts} == {"silent"}


def test_what_answers_slower_than_the_probe_waits_is_not_vouched_for() -> None:
    verdict = judge(result(*SEALED), control(milliseconds=400))
    assert verdict.outcome == Said.UNPROVEN
    words = {each.target: each.control for each in verdict.attempts}
    assert (words["canary"], words["index"]) == ("slow", "answered")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_one_open_target_breaks_the_seal_whatever_else_is_wrong(protocol: Protocol) -> None:
    leak = attempt("canary-dns", "blocked", "open", 53, protocol)
    verdict = judge(result(*SEALED, leak, replace(METADATA, result="error")), control(CANARY, API))
    assert verdict.outcome == Said.OPEN
    told = "canary-dns (192.0.2.1:53/udp)" if protocol == "udp" else "canary-dns (192.0.2.1:53)"
    assert verdict.reasons == (f"{told} should be blocked, was open",)


@pytest.mark.parametrize(
    "attempts",
    [
        (CANARY, replace(API, result="error"), DNS, INDEX),
        (DNS, INDEX),  # nothing that must be blocked
        (CANARY, API),  # nothing that must be open
        (CANARY, API, DNS, replace(INDEX, result="blocked")),  # which the control did reach
        (CANARY, API, replace(DNS, result="blocked"), INDEX),
        (*SEALED[:5], replace(PROXY, result="blocked")),
        (),
    ],
)
def test_a_run_that_failed_itself(attempts: tuple[Attempt, ...]) -> None:
    assert judge(result(*attempts), control()).outcome == Said.UNUSABLE


def test_what_could_not_be_read_is_of_no_use() -> None:
    lost = ProbeResult(False, False, (attempt("probe", "blocked", "error"),), usable=False)
    assert judge(lost, Control("", "", "", ())).outcome == Said.UNUSABLE


@pytest.mark.parametrize("down", [INDEX, DNS])
def test_an_index_that_is_down_is_not_the_seals_fault(down: Attempt) -> None:
    attempts = tuple(replace(each, result="blocked") if each is down else each for each in SEALED)
    verdict = judge(result(*attempts), control(down))
    assert verdict.outcome == Said.UNPROVEN
    assert "did not answer the control either" in verdict.reasons[0]


def test_a_proxy_that_is_down_keeps_nobody_out() -> None:
    attempts = (*SEALED[:5], replace(PROXY, result="blocked"))
    assert judge(result(*attempts), control(PROXY)).outcome == Said.HOLDS


def test_one_address_of_the_index_is_enough() -> None:
    other = replace(INDEX, port=8443, result="blocked")
    assert judge(result(*SEALED, other), control()).outcome == Said.HOLDS


def run(begin: int, end: int) -> ProbeResult:
    times = [f"2026-01-01T00:{second // 60:02}:{second % 60:02}+00:00" for second in (begin, end)]
    return ProbeResult(True, False, (), started_at=times[0], finished_at=times[1])


def test_how_far_apart_two_runs_are() -> None:
    assert distance(run(10, 20), run(15, 30)) == timedelta()
    assert distance(run(10, 20), run(50, 60)) == distance(run(50, 60), run(10, 20)) == timedelta(seconds=30)
    assert is_before(run(10, 20), run(50, 60))
    assert not is_before(run(10, 20), run(15, 60))
    with pytest.raises(ValueError, match="Invalid isoformat"):
        distance(run(0, 1), ProbeResult(False, False, (), usable=False))
