"""The proof of a seal, on the simulated cluster and on a real one: what the canary, its control and a probe see."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sandboxes.cluster.canary import canary_namespace, load_canary, render_canary, render_control
from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.observe import ProbeLostError
from sandboxes.cluster.spec import Control, KubeObject, Labels, ProbeResult, Target
from sandboxes.cluster.targets import canary_targets, control_targets
from sandboxes.cluster.verdict import Outcome, judge
from sandboxes.errors import ClusterRefusedError, TemporaryError
from tests.cluster.conftest import REAL, Subject, wait_for
from tests.simulator import ROOT

pytestmark = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)

POD = kind("v1", "Pod")
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
TEMPLATES = load_canary(ROOT / "k8s-templates")
# Nothing listens there: the control must be able to say that this target proves nothing.
DEAD = Target("nobody", "192.0.2.77", 9)


@dataclass(frozen=True)
class Canary:
    """The canary of this test's installation, which answers."""

    subject: Subject
    address: str

    def blocked(self) -> tuple[Target, ...]:
        return (*self.subject.cluster.default_blocked_targets(), *canary_targets(self.address), DEAD)

    def control(self, name: str = "control-1") -> Control:
        pod = self._pod(name)
        self.subject.cluster.start_control(pod)
        self.subject.cluster.start_control(pod)  # a second worker changes nothing
        found = wait_for(lambda: self.subject.cluster.control(pod["metadata"]["namespace"], name))
        assert found is not None
        return found

    def _pod(self, name: str) -> KubeObject:
        subject = self.subject
        index = ((subject.index_address,), subject.index_port)
        targets = control_targets(self.blocked(), subject.cluster.dns_addresses(), index, None)
        return render_control(
            TEMPLATES,
            installation_id=subject.installation_id,
            image=subject.image,
            name=name,
            targets=targets,
        )

    def probe(self, spec: Any, rendered: Any) -> ProbeResult:
        self.subject.cluster.start_probe(rendered.probe)
        result = wait_for(lambda: self.subject.cluster.probe(spec.namespace, spec.run))
        assert result is not None
        return result


@pytest.fixture
def canary(subject: Subject) -> Iterator[Canary]:
    objects, spec_hash = render_canary(
        TEMPLATES, installation_id=subject.installation_id, image=subject.image
    )
    namespace = canary_namespace(subject.installation_id)
    assert subject.cluster.canary(namespace, spec_hash).message == "it is not there"
    try:
        subject.cluster.make_canary(objects)
        subject.cluster.make_canary(objects)
        state = wait_for(lambda: (state := subject.cluster.canary(namespace, spec_hash)).address and state)
        assert state
        yield Canary(subject, state.address)
    finally:
        subject.cluster.delete_canary(namespace)
        wait_for(lambda: subject.cluster.namespace(namespace) is None)


def results(result: ProbeResult) -> dict[tuple[str, str], str]:
    return {(attempt.target, attempt.protocol): attempt.result for attempt in result.attempts}


def test_the_canary_answers_the_control(canary: Canary) -> None:
    control = canary.control()
    answers = {(each.host, each.port, each.protocol): each.open for each in control.answers}
    assert answers[canary.address, 8080, "tcp"]
    assert answers[canary.address, 53, "udp"]
    assert answers[canary.address, 53, "tcp"]
    assert answers[canary.subject.index_address, canary.subject.index_port, "tcp"]
    for dns in canary.subject.cluster.dns_addresses():
        assert answers[dns.address, dns.port, "udp"]
    api = [t for t in canary.subject.cluster.default_blocked_targets() if t.name.startswith("api")]
    assert api
    assert all(answers[target.host, target.port, target.protocol] for target in api)
    assert answers[DEAD.host, DEAD.port, "tcp"] is canary.subject.simulated  # nothing is sent in there
    assert control.started_at <= control.finished_at


def test_a_sealed_probe_is_blocked_everywhere_and_that_is_proven(canary: Canary) -> None:
    control = canary.control()
    spec, rendered, _ = canary.subject.sealed(blocked_targets=canary.blocked())
    result = canary.probe(spec, rendered)
    verdict = judge(result, control)
    assert verdict.outcome == Outcome.HOLDS, verdict
    words = {(a.target, a.protocol): (a.result, a.control) for a in verdict.attempts}
    assert words["canary", "tcp"] == words["canary-dns", "udp"] == ("blocked", "answered")
    assert words["api-server", "tcp"] == words["api-service", "tcp"] == ("blocked", "answered")
    assert words["cluster-dns", "udp"] == words["index", "tcp"] == ("open", "answered")
    if not canary.subject.simulated:
        assert words["nobody", "tcp"] == ("blocked", "silent")  # dead: it proves nothing, and says so
    assert words["kubelet", "tcp"][0] == "blocked"  # whether it listens to pods is the cluster's affair


def test_a_policy_added_by_hand_is_found_open(canary: Canary) -> None:
    control = canary.control()
    spec, rendered, _ = canary.subject.sealed(blocked_targets=canary.blocked())
    everything = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "by-hand", "namespace": spec.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    }
    canary.subject.cluster._api.create(POLICY.collection(spec.namespace), everything)
    result = canary.probe(spec, rendered)
    assert results(result)["canary", "tcp"] == results(result)["canary-dns", "udp"] == "open"
    verdict = judge(result, control)
    assert verdict.outcome == Outcome.OPEN
    assert any(reason.startswith("canary (") for reason in verdict.reasons)


def test_a_way_out_over_udp_alone_is_found(canary: Canary) -> None:
    """A careless rule for DNS: everything over TCP stays closed."""
    spec, rendered, _ = canary.subject.sealed(blocked_targets=canary.blocked())
    rule = {"ports": [{"protocol": "UDP", "port": 53}]}
    careless = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "by-hand", "namespace": spec.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]},
    }
    canary.subject.cluster._api.create(POLICY.collection(spec.namespace), careless)
    seen = results(canary.probe(spec, rendered))
    assert seen["canary-dns", "udp"] == "open"
    assert seen["canary-dns", "tcp"] == seen["canary", "tcp"] == seen["api-server", "tcp"] == "blocked"


def test_what_an_earlier_run_left_is_no_result(canary: Canary) -> None:
    spec, rendered, _ = canary.subject.sealed(blocked_targets=canary.blocked())
    canary.probe(spec, rendered)
    with pytest.raises(ProbeLostError):
        canary.subject.cluster.probe(spec.namespace, "later")
    _, again = canary.subject.sandbox(
        **{name: getattr(spec, name) for name in ("sandbox_id", "name", "namespace", "blocked_targets")},
        run="later",
    )
    wait_for(lambda: _starts(canary.subject, again.probe))
    assert wait_for(lambda: canary.subject.cluster.probe(spec.namespace, "later"))
    with pytest.raises(ProbeLostError):
        canary.subject.cluster.probe(spec.namespace, spec.run)


def _starts(subject: Subject, probe: tuple[KubeObject, ...]) -> bool:
    try:
        subject.cluster.start_probe(probe)
    except TemporaryError:
        return False
    return True


def test_the_next_control_takes_the_place_of_the_last(canary: Canary) -> None:
    namespace = canary_namespace(canary.subject.installation_id)
    canary.control("control-1")
    canary.subject.cluster.delete_controls(namespace, keep="control-2")
    canary.control("control-2")
    with pytest.raises(ProbeLostError):
        canary.subject.cluster.control(namespace, "control-1")


def test_the_canary_is_no_sandbox_and_another_is_never_adopted(subject: Subject) -> None:
    objects, _ = render_canary(TEMPLATES, installation_id=subject.installation_id, image=subject.image)
    assert Labels.SANDBOX not in objects[0]["metadata"]["labels"]
    name = canary_namespace(subject.installation_id)
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    uid = subject.cluster._api.create(NAMESPACE.collection(), foreign)["metadata"]["uid"]
    try:
        with pytest.raises(ClusterRefusedError, match="is not our canary's"):
            subject.cluster.make_canary(objects)
        with pytest.raises(ClusterRefusedError, match="no canary"):
            subject.cluster.delete_canary(name)
    finally:
        subject.cluster._api.delete(NAMESPACE.path(None, name), {"preconditions": {"uid": uid}})


def test_a_canary_that_cannot_run_says_why(subject: Subject) -> None:
    objects, spec_hash = render_canary(
        TEMPLATES, installation_id=subject.installation_id, image="images.invalid/nothing:1"
    )
    namespace = canary_namespace(subject.installation_id)
    try:
        subject.cluster.make_canary(objects)
        state = wait_for(
            lambda: "Pull" in (state := subject.cluster.canary(namespace, spec_hash)).message and state
        )
        assert state
        assert state.address == ""
    finally:
        subject.cluster.delete_canary(namespace)
        wait_for(lambda: subject.cluster.namespace(namespace) is None)


def test_request_to_proof_is_quick(canary: Canary) -> None:
    """Not a benchmark: only that nothing in it waits for seconds without need."""
    canary.control()
    spec, rendered, _ = canary.subject.sealed(blocked_targets=canary.blocked())
    begin = time.monotonic()
    result = canary.probe(spec, rendered)
    assert result.passed, json.dumps([str(attempt) for attempt in result.attempts])
    assert time.monotonic() - begin < 15
