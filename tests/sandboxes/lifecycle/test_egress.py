"""Ways out: granted with a date, carried out as one policy each, and gone on their date."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.errors import ClusterUnavailableError, ConflictError, InvalidInputError, NotFoundError
from sandboxes.lifecycle import clock, egress, egress_policies, engine, services, specs
from sandboxes.lifecycle.models import EgressException, Probe, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.ways import Way, parse_way
from tests.sandboxes.lifecycle.between import Between
from tests.sandboxes.lifecycle.test_journey import reconcile_until

pytestmark = pytest.mark.django_db

POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
BLOCK = parse_way(cidr="203.0.113.0/24", port=5432)
HOST = parse_way(host="api.example.org", port=443)
HOUR = timedelta(hours=1)


@pytest.fixture
def box(sandbox: Sandbox) -> Sandbox:
    """Alice's sandbox, ready and quiet."""
    reconcile_until(sandbox, Phase.READY)
    services.extend(sandbox_id=sandbox.pk, add=timedelta(hours=5), by=None)
    engine.sweep()
    sandbox.refresh_from_db()
    return sandbox


@pytest.fixture
def bare(alice: User) -> Sandbox:
    """A ready row; no cluster is asked."""
    return Sandbox.objects.create(
        owner=alice,
        cluster="simulated",
        profile="python",
        data_class="public",
        lease=HOUR,
        phase=Phase.READY,
        expires_at=clock.now() + HOUR,
        next_check_at=clock.now() + HOUR,
    )


def grant(sandbox: Sandbox, way: Way = BLOCK, *, by: User | None = None, **changes: Any) -> EgressException:
    given = {"reason": "Load the sample", "until": clock.now() + HOUR / 2}
    return egress.grant(sandbox_id=sandbox.pk, way=way, by=by, **{**given, **changes})


def policies(cluster: Cluster, sandbox: Sandbox) -> dict[str, Any]:
    return {
        item["metadata"]["name"]: item["spec"]
        for item in cluster.api.list(POLICY, sandbox.namespace)
        if item["metadata"]["name"].startswith("egress-")
    }


def told(sandbox: Sandbox) -> list[Entry]:
    rows = Entry.objects.filter(subject=f"sandbox:{sandbox.pk}", action__startswith="sandbox.egress")
    return list(rows.order_by("id"))


class TestGrant:
    def test_it_holds_until_its_date_and_is_in_the_ledger(self, bare: Sandbox, iris: User) -> None:
        until = clock.now() + timedelta(minutes=20)
        row = grant(bare, HOST, by=iris, until=until)
        assert (row.host, row.cidr, row.port, row.until) == ("api.example.org", "", 443, until)
        assert row.granted_by == iris
        assert egress.allowed_hosts(bare.pk) == {("api.example.org", 443)}
        [entry] = told(bare)
        assert (entry.action, entry.actor) == ("sandbox.egress_granted", "iris")
        assert entry.data["to"] == "api.example.org:443"
        assert entry.data["reason"] == "Load the sample"

    def test_the_lease_is_the_longest_it_can_be(self, bare: Sandbox) -> None:
        assert grant(bare, until=clock.now() + timedelta(days=9)).until == bare.expires_at

    @pytest.mark.parametrize(
        "phase", [phase for phase in Phase if phase not in (Phase.READY, Phase.HIBERNATED)]
    )
    def test_only_out_of_one_whose_lease_runs(self, bare: Sandbox, phase: Phase) -> None:
        Sandbox.objects.update(phase=phase)
        with pytest.raises(ConflictError, match=phase.value):
            grant(bare)

    def test_not_into_the_past(self, bare: Sandbox) -> None:
        with pytest.raises(ConflictError, match="over already"):
            grant(bare, until=clock.now() - timedelta(seconds=1))

    def test_not_without_bound(self, bare: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(egress, "MOST", 1)
        first = grant(bare)
        with pytest.raises(ConflictError, match="1 ways out already"):
            grant(bare)
        egress.end(first.pk, None)
        grant(bare)

    def test_not_to_what_the_probe_needs_closed(self, bare: Sandbox) -> None:
        attempts = [{"target": "outside", "host": "203.0.113.9", "port": 443, "expected": "blocked"}]
        Probe.objects.create(sandbox=bare, passed=True, simulated=True, attempts=attempts)
        Probe.objects.create(sandbox=bare, passed=False, outcome="unusable", simulated=True, attempts=[])
        with pytest.raises(InvalidInputError, match=r"outside 203\.0\.113\.9"):
            grant(bare)
        grant(bare, parse_way(cidr="203.0.113.8", port=443))

    def test_of_none(self) -> None:
        with pytest.raises(NotFoundError):
            egress.grant(sandbox_id=404, way=HOST, reason="x", until=clock.now() + HOUR, by=None)


class TestEnd:
    def test_a_host_stops_with_the_very_commit(self, bare: Sandbox, alice: User) -> None:
        row = grant(bare, HOST)
        assert egress.end(row.pk, alice).ended_at is not None
        assert egress.allowed_hosts(bare.pk) == frozenset()
        egress.end(row.pk, alice)  # again changes nothing
        assert [(entry.action, entry.actor) for entry in told(bare)] == [
            ("sandbox.egress_granted", "Petridish"),
            ("sandbox.egress_ended", "alice"),
        ]

    def test_of_none(self, alice: User) -> None:
        with pytest.raises(NotFoundError):
            egress.end(404, alice)

    def test_the_databases_clock_decides_what_has_run_out(self, bare: Sandbox) -> None:
        late, early = grant(bare, HOST), grant(bare, BLOCK)
        assert egress.end_due() == 0
        EgressException.objects.filter(pk=early.pk).update(until=clock.now())
        assert egress.end_due() == 1
        early.refresh_from_db()
        late.refresh_from_db()
        assert early.ended_at is not None
        assert late.ended_at is None
        assert told(bare)[-1].data["reason"] == "its date has come"
        bare.refresh_from_db()
        assert bare.next_check_at is not None
        assert bare.next_check_at <= clock.now()  # the policy is a worker's to remove

    def test_what_runs_out_is_not_allowed_though_nobody_ended_it(self, bare: Sandbox) -> None:
        grant(bare, HOST)
        EgressException.objects.update(until=clock.now())
        assert egress.allowed_hosts(bare.pk) == frozenset()

    def test_what_a_sandbox_that_is_over_had_left(self, bare: Sandbox) -> None:
        grant(bare, HOST)
        Sandbox.objects.update(phase=Phase.ENDED, next_check_at=None)
        assert egress.end_due() == 1
        assert told(bare)[-1].data["reason"] == "its sandbox is over"
        bare.refresh_from_db()
        assert bare.next_check_at is None


class TestWhatTheNamespaceShouldHold:
    """`active_blocks`: what the seal is rendered with."""

    def test_hosts_are_none_of_it(self, bare: Sandbox) -> None:
        grant(bare, HOST)
        row = grant(bare, BLOCK)
        [block] = egress.active_blocks(bare)
        assert (block.id, block.cidr, block.port) == (row.pk, "203.0.113.0/24", 5432)

    def test_while_ready_an_ended_policy_is_ours_until_it_is_removed(self, bare: Sandbox) -> None:
        row = grant(bare)
        EgressException.objects.update(applied_at=clock.now(), ended_at=clock.now())
        assert [block.id for block in egress.active_blocks(bare)] == [row.pk]
        EgressException.objects.update(removed_at=clock.now())
        assert egress.active_blocks(bare) == ()

    @pytest.mark.parametrize("phase", [Phase.PROBING, Phase.HIBERNATED])
    def test_in_any_other_phase_what_is_over_is_not_opened_again(self, bare: Sandbox, phase: Phase) -> None:
        grant(bare)
        bare.phase = phase
        assert len(egress.active_blocks(bare)) == 1
        EgressException.objects.update(applied_at=clock.now(), until=clock.now())
        assert egress.active_blocks(bare) == ()

    def test_an_isolated_sandbox_has_none(self, bare: Sandbox) -> None:
        grant(bare)
        bare.phase = Phase.ISOLATED
        assert egress.active_blocks(bare) == ()


class TestInTheCluster:
    def test_one_policy_each_and_gone_when_it_ends(self, box: Sandbox, cluster: Cluster, alice: User) -> None:
        first, second = grant(box), grant(box, parse_way(cidr="2001:db8::1", port=443))
        grant(box, HOST)
        before = box.spec_hash
        engine.sweep()
        found = policies(cluster, box)
        assert set(found) == {f"egress-{first.pk}", f"egress-{second.pk}"}
        spec = found[f"egress-{first.pk}"]
        assert (spec["podSelector"], spec["policyTypes"]) == ({}, ["Egress"])
        assert spec["egress"] == [
            {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"protocol": "TCP", "port": 5432}]}
        ]
        first.refresh_from_db()
        assert first.applied_at is not None
        box.refresh_from_db()
        assert box.spec_hash == specs.rendered(box, cluster).spec_hash != before

        egress.end(first.pk, alice)
        engine.sweep()
        assert set(policies(cluster, box)) == {f"egress-{second.pk}"}
        first.refresh_from_db()
        assert first.removed_at is not None
        box.refresh_from_db()
        assert box.spec_hash == specs.rendered(box, cluster).spec_hash
        assert box.phase == Phase.READY

    def test_after_a_change_the_seal_is_to_be_proven_and_inspected(
        self, box: Sandbox, cluster: Cluster
    ) -> None:
        later = clock.now() + HOUR
        Sandbox.objects.update(probe_due_at=later, inspect_due=False, observed="as it was")
        box.refresh_from_db()
        row = grant(box)
        assert egress.keep(box, cluster) == row.until
        box.refresh_from_db()
        assert box.probe_due_at is not None
        assert box.probe_due_at <= clock.now()
        assert (box.inspect_due, box.observed) == (True, "")

        Sandbox.objects.update(probe_due_at=later, inspect_due=False, observed="as it was")
        egress.end(row.pk, None)
        assert egress.keep(box, cluster) is None
        box.refresh_from_db()
        assert box.probe_due_at <= clock.now()
        assert (box.inspect_due, box.observed) == (True, "")

    def test_nothing_to_do_asks_the_cluster_nothing(
        self, box: Sandbox, cluster: Cluster, between: Between
    ) -> None:
        grant(box, HOST)
        assert egress.keep(box, cluster) is None
        assert between.calls == []

    def test_its_date_ends_it_within_a_sweep(self, box: Sandbox, cluster: Cluster) -> None:
        row = grant(box)
        engine.sweep()
        EgressException.objects.update(until=clock.now())
        Sandbox.objects.update(next_check_at=clock.now())
        engine.sweep()
        assert policies(cluster, box) == {}
        row.refresh_from_db()
        assert row.ended_at is not None
        assert row.removed_at is not None

    def test_the_sandbox_is_looked_at_again_when_the_next_one_ends(self, box: Sandbox) -> None:
        row = grant(box, until=clock.now() + timedelta(minutes=3))
        engine.sweep()
        box.refresh_from_db()
        assert box.next_check_at is not None
        assert box.next_check_at <= row.until + timedelta(seconds=1)

    def test_a_worker_that_dies_after_applying_applies_again(
        self, box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = grant(box)

        def dies(*args: object, **kwargs: object) -> None:
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(egress_policies, "_changed", dies)
            with pytest.raises(SystemExit):
                egress.keep(box, cluster)
        row.refresh_from_db()
        assert row.applied_at is None
        assert set(policies(cluster, box)) == {f"egress-{row.pk}"}
        egress.end(row.pk, None)  # never noted as applied, and removed all the same
        egress.keep(box, cluster)
        assert policies(cluster, box) == {}

    def test_a_worker_that_dies_between_removing_and_applying(
        self, box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = grant(box)
        egress.keep(box, cluster)
        egress.end(row.pk, None)

        def dies(*args: object, **kwargs: object) -> None:
            raise ClusterUnavailableError("It does not answer.")

        with monkeypatch.context() as patch:
            patch.setattr(specs, "rendered", dies)
            with pytest.raises(ClusterUnavailableError):
                egress.keep(box, cluster)
        box.refresh_from_db()
        assert box.spec_hash == ""
        egress.keep(box, cluster)
        box.refresh_from_db()
        assert box.spec_hash == specs.rendered(box, cluster).spec_hash

    def test_a_policy_that_lost_our_label_is_not_ours_to_delete(self, box: Sandbox, cluster: Cluster) -> None:
        row = grant(box)
        egress.keep(box, cluster)
        path = POLICY.path(box.namespace, f"egress-{row.pk}")
        found = cluster.api.get(path)
        cluster.api.delete(path)
        bare_item = {**found, "metadata": {"name": f"egress-{row.pk}", "namespace": box.namespace}}
        cluster.api.create(POLICY.collection(box.namespace), bare_item)
        Sandbox.objects.update(inspect_due=False)
        egress.end(row.pk, None)
        again = egress.keep(box, cluster)
        assert again is not None
        assert again <= clock.now() + timedelta(seconds=5)
        row.refresh_from_db()
        assert row.removed_at is None
        box.refresh_from_db()
        assert box.inspect_due  # who did that is for the inspection to say

    def test_a_block_the_cluster_grew_into_is_left_out_and_the_rest_is_made(
        self, box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grant(box)
        other = grant(box, replace(BLOCK, cidr="198.51.100.0/24"))
        monkeypatch.setattr(specs, "closed_ranges", lambda cluster: ("203.0.113.77",))
        names = {item["metadata"]["name"] for item in specs.rendered(box, cluster).seal}
        assert {name for name in names if name.startswith("egress-")} == {f"egress-{other.pk}"}

    def test_a_cluster_that_grew_into_the_block_ends_it(
        self, box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = grant(box)
        egress.keep(box, cluster)
        monkeypatch.setattr(specs, "closed_ranges", lambda cluster: ("203.0.113.77",))
        egress.keep(box, cluster)
        assert policies(cluster, box) == {}
        row.refresh_from_db()
        assert row.removed_at is not None
        assert told(box)[-1].data["reason"] == "it holds what stays closed: the cluster’s own 203.0.113.77"
