"""Somebody takes our labels off a sandbox's namespace: the UID in the row is enough to cut it off and end it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import Labels
from sandboxes.errors import ClusterRefusedError
from sandboxes.lifecycle import belonging, hibernation, isolation, observing, receipts, services, teardown
from sandboxes.lifecycle.models import Alarm, Receipt, Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.working import BINDING, POLICY, actions, bind, is_in, look, names, until
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db

ANOTHER = "00000000-0000-0000-0000-000000000000"
EDITS: list[dict[str, str | None]] = [
    {"_installation": None},
    {"_sandbox": None},
    {"_installation": "another"},
    {"_sandbox": "999999"},
    {"_installation": None, "_sandbox": None, "pod-security.kubernetes.io/enforce": None},
]


@pytest.fixture(autouse=True)
def own_installation(settings: Any) -> None:
    """The simulated cluster is shared with other tests, whose sandboxes are none of ours."""
    settings.INSTALLATION_ID = f"belonging-{time.monotonic_ns()}"


@pytest.fixture
def hand(simulator: Simulator) -> Iterator[ByHand]:
    hand = ByHand(str(simulator.kubeconfig))
    yield hand
    hand.close()


def labels_of(cluster: Cluster, sandbox: Sandbox) -> dict[str, str]:
    state = cluster.namespace(sandbox.namespace or "")
    assert state is not None
    assert state.uid == sandbox.namespace_uid
    return dict(state.labels)


def notice(sandbox: Sandbox) -> None:
    observing.observe("simulated")
    look(sandbox)


@pytest.mark.parametrize("labels", EDITS, ids=str)
def test_it_is_cut_off_and_ended(
    ready: Sandbox, cluster: Cluster, hand: ByHand, iris: User, labels: dict[str, str | None]
) -> None:
    namespace = ready.namespace or ""
    bind(cluster, ready)
    hand.label(namespace, **labels)
    notice(ready)
    assert ready.phase == Phase.ISOLATED, "it was taken for gone, or for right"
    until(ready, lambda sandbox: sandbox.cut_at)
    assert names(cluster, ready, POLICY) == ["deny-all"]
    assert names(cluster, ready, BINDING) == []
    assert belonging.is_labelled(ready, cluster.namespace(namespace))  # type: ignore[arg-type]
    assert labels_of(cluster, ready)["pod-security.kubernetes.io/enforce"] == "restricted"
    entry = Entry.objects.get(action="sandbox.relabelled", subject=f"sandbox:{ready.pk}")
    assert entry.data["uid"] == ready.namespace_uid
    edited = {name.replace("_", "petridish.dev/", 1): value for name, value in labels.items()}
    assert edited.items() & entry.data["found"].items()

    assert Alarm.objects.filter(subject=f"sandbox:{ready.pk}", cleared_at=None).count() == 1
    services.end(ready.pk, by=iris)
    until(ready, is_in(Phase.ENDED))
    assert cluster.namespace(namespace) is None
    receipt = Receipt.objects.get(sandbox=ready)
    assert receipts.verify(receipt.document, receipt.key_id, receipt.signature).ok
    assert receipt.document["absent_at"]
    standing = Alarm.objects.get(subject=f"sandbox:{ready.pk}", cleared_at=None)
    assert standing.kind == "isolated", "who edited it is still to be found"
    assert verify().ok


@pytest.mark.parametrize("labels", EDITS[:2], ids=str)
def test_its_owner_ends_it_before_anybody_noticed(
    ready: Sandbox, cluster: Cluster, hand: ByHand, alice: User, labels: dict[str, str | None]
) -> None:
    hand.label(ready.namespace or "", **labels)
    services.end(ready.pk, by=alice)
    until(ready, is_in(Phase.ENDED))
    assert cluster.namespace(ready.namespace or "") is None
    assert "relabelled" in actions(ready)


@pytest.mark.parametrize("asleep", [True, False], ids=["asleep", "falling asleep"])
def test_of_one_that_sleeps_too_the_seal_was_changed(
    ready: Sandbox, cluster: Cluster, hand: ByHand, alice: User, asleep: bool
) -> None:
    hibernation.hibernate(ready.pk, by=alice)
    if asleep:
        until(ready, lambda sandbox: sandbox.hibernated_at)
    hand.label(ready.namespace or "", _installation=None)
    notice(ready)
    until(ready, lambda sandbox: sandbox.cut_at)
    assert "Its seal was changed: Namespace/" in ready.isolation_reason
    assert names(cluster, ready, POLICY) == ["deny-all"]


def test_one_that_is_cut_off_stays_so(ready: Sandbox, cluster: Cluster, hand: ByHand, iris: User) -> None:
    isolation.isolate(ready.pk, by=iris, reason="odd")
    since = until(ready, lambda sandbox: sandbox.cut_at).cut_at
    hand.label(ready.namespace or "", _sandbox=None)
    notice(ready)
    assert (ready.phase, ready.cut_at, ready.last_error) == (Phase.ISOLATED, since, "")
    assert labels_of(cluster, ready)[Labels.SANDBOX] == str(ready.pk)


class TestNeverTouched:
    def test_a_namespace_with_another_uid(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        """Nothing says that it is ours, neither its labels nor its UID."""
        hand.label(ready.namespace or "", _installation=None)
        Sandbox.objects.update(namespace_uid=ANOTHER)
        ready.refresh_from_db()
        state = cluster.namespace(ready.namespace or "")
        assert state is not None
        belonging.put_labels_back(ready, cluster, state)
        assert cluster.namespace(ready.namespace or "") == state
        start_ending(ready, reason="expired")
        until(ready, is_in(Phase.ENDED))  # what was made for it is gone, whoever has its name now
        found = cluster.namespace(ready.namespace or "")
        assert found is not None
        assert (found.uid, found.phase, dict(found.labels)) == (state.uid, "Active", dict(state.labels))
        assert "relabelled" not in actions(ready)

    def test_a_namespace_with_our_labels_and_another_uid(self, ready: Sandbox, cluster: Cluster) -> None:
        Sandbox.objects.update(namespace_uid=ANOTHER)
        ready.refresh_from_db()
        start_ending(ready, reason="expired")
        look(ready)
        assert ready.phase == Phase.ENDING
        assert "another uid than the one made here" in ready.last_error
        assert cluster.namespace(ready.namespace or "") is not None

    def test_one_without_our_labels_where_no_uid_is_known(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        hand.label(ready.namespace or "", _sandbox=None)
        Sandbox.objects.update(namespace_uid="")
        ready.refresh_from_db()
        start_ending(ready, reason="expired")
        assert teardown.take(ready) is None
        state = cluster.namespace(ready.namespace or "")
        assert state is not None
        assert (state.phase, Labels.SANDBOX in state.labels) == ("Active", False)

    def test_one_that_took_the_name_at_that_very_moment(self, ready: Sandbox, cluster: Cluster) -> None:
        """The server compares the UID, so nothing lies between looking and labelling."""
        before = labels_of(cluster, ready)
        with pytest.raises(ClusterRefusedError, match="UID"):
            cluster.label_namespace(ready.namespace or "", ANOTHER, {"captured": "true"})
        assert labels_of(cluster, ready) == before
