"""Sleep: by click or when idle, with nothing left running; and waking, behind a seal that is proven again."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Activity, Cluster
from sandboxes.errors import ClusterRefusedError, ConflictError, NotFoundError, RefusedError
from sandboxes.lifecycle import clock, expiry, hibernation, holds, queries, services, sleeping, specs
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token
from tests.sandboxes.lifecycle.working import POD, actions, is_in, look, pods, until

pytestmark = pytest.mark.django_db

type Says = Callable[[Activity | None], None]


@pytest.fixture
def asleep(ready: Sandbox, alice: User) -> Sandbox:
    hibernation.hibernate(ready.pk, by=alice)
    return until(ready, lambda sandbox: sandbox.hibernated_at)


@pytest.fixture
def sleepy(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Its profile puts it to sleep after half an hour, and it opened an hour ago."""
    profiles = dict(specs.templates().profiles)
    profiles["python"] = replace(profiles["python"], hibernate_after=timedelta(minutes=30))
    templates = replace(specs.templates(), profiles=profiles)
    monkeypatch.setattr(specs, "templates", cache(lambda: templates))
    Sandbox.objects.update(phase_at=clock.now() - timedelta(hours=1))
    ready.refresh_from_db()
    return ready


@pytest.fixture
def says(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Says:
    """What the workspace reports of itself. For real pods see `tests/cluster`."""

    def set_to(activity: Activity | None) -> None:
        monkeypatch.setattr(cluster, "workspace_activity", lambda namespace: activity)

    return set_to


def quiet(processes: int = 0, cpu: float = 0.4, ago: timedelta = timedelta(seconds=20)) -> Activity:
    return Activity(clock.now() - ago, processes, cpu)


class TestByClick:
    def test_asleep_means_that_no_pod_is_left(self, ready: Sandbox, cluster: Cluster, alice: User) -> None:
        hibernation.hibernate(ready.pk, by=alice)
        ready.refresh_from_db()
        assert (ready.phase, ready.hibernated_at) == (Phase.HIBERNATED, None)
        assert queries.index_url(ready) == ""
        until(ready, lambda sandbox: sandbox.hibernated_at)
        assert cluster.pods_left(ready.namespace or "") == 0
        entry = Entry.objects.get(action="sandbox.hibernated")
        assert (entry.actor_id, entry.data) == (alice.pk, {"reason": "asked for"})

    def test_a_pod_that_does_not_go_is_waited_for(
        self, ready: Sandbox, cluster: Cluster, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hibernation.hibernate(ready.pk, by=alice)
        monkeypatch.setattr(cluster, "pods_left", lambda namespace: 1)
        look(ready)
        assert ready.hibernated_at is None

    def test_only_what_is_ready_sleeps(self, sandbox: Sandbox, alice: User) -> None:
        with pytest.raises(ConflictError, match="this one is pending"):
            hibernation.hibernate(sandbox.pk, by=alice)
        with pytest.raises(NotFoundError):
            hibernation.hibernate(0, by=alice)

    def test_again_changes_nothing(self, asleep: Sandbox, alice: User) -> None:
        since = asleep.hibernated_at
        hibernation.hibernate(asleep.pk, by=alice)
        asleep.refresh_from_db()
        assert asleep.hibernated_at == since
        assert actions(asleep).count("hibernated") == 1

    def test_the_lease_goes_on(self, asleep: Sandbox) -> None:
        Sandbox.objects.update(expires_at=clock.now())
        expiry.run()
        until(asleep, is_in(Phase.ENDED))
        assert asleep.end_reason == "expired"

    def test_what_somebody_scales_up_is_put_to_sleep_again(self, asleep: Sandbox, cluster: Cluster) -> None:
        cluster.scale_workspace(asleep.namespace or "", 1)
        Sandbox.objects.update(inspect_due=True)
        look(asleep)
        until(asleep, lambda sandbox: not sandbox.inspect_due)
        assert asleep.phase == Phase.HIBERNATED
        assert cluster.pods_left(asleep.namespace or "") == 0

    def test_a_namespace_deleted_by_hand_ends_it(self, asleep: Sandbox, cluster: Cluster) -> None:
        cluster.delete_namespace(asleep.namespace or "", asleep.namespace_uid)
        Sandbox.objects.update(inspect_due=True)  # the listing misses it
        look(asleep)
        until(asleep, is_in(Phase.ENDED))
        assert "deleted by somebody else" in asleep.end_reason


class TestWaking:
    def test_one_click_with_the_same_lease_and_token(
        self, asleep: Sandbox, cluster: Cluster, alice: User
    ) -> None:
        expires_at, proofs = asleep.expires_at, asleep.probes.count()
        hibernation.wake(asleep.pk, by=alice)
        until(asleep, is_in(Phase.READY))
        assert (asleep.expires_at, asleep.hibernated_at) == (expires_at, None)
        assert asleep.probes.count() == proofs + 1
        assert asleep.index_token_digest == digest(index_token(asleep))
        assert cluster.workspace(asleep.namespace or "").ready

    def test_again_while_it_wakes_or_is_awake(self, asleep: Sandbox, alice: User) -> None:
        for _ in range(2):
            hibernation.wake(asleep.pk, by=alice)
        until(asleep, is_in(Phase.READY))
        hibernation.wake(asleep.pk, by=alice)
        asleep.refresh_from_db()
        assert asleep.phase == Phase.READY

    def test_before_it_slept_at_all(self, ready: Sandbox, cluster: Cluster, alice: User) -> None:
        hibernation.hibernate(ready.pk, by=alice)
        hibernation.wake(ready.pk, by=alice)
        until(ready, is_in(Phase.READY))
        assert cluster.workspace(ready.namespace or "").ready

    def test_nothing_else_wakes(self, sandbox: Sandbox, alice: User) -> None:
        with pytest.raises(ConflictError, match="pending, not asleep"):
            hibernation.wake(sandbox.pk, by=alice)


class TestIdle:
    def test_nobody_sleeps_unless_the_profile_says_so(
        self, ready: Sandbox, cluster: Cluster, says: Says
    ) -> None:
        Sandbox.objects.update(phase_at=clock.now() - timedelta(days=9))
        ready.refresh_from_db()
        says(quiet())
        assert sleeping.keep(ready, cluster) is None
        assert ready.phase == Phase.READY

    def test_no_sign_of_life_for_that_long(self, sleepy: Sandbox, cluster: Cluster, says: Says) -> None:
        says(quiet())
        sleeping.keep(sleepy, cluster)
        sleepy.refresh_from_db()
        assert sleepy.phase == Phase.HIBERNATED
        entry = Entry.objects.get(action="sandbox.hibernated")
        assert (entry.actor_id, entry.data) == (None, {"reason": "idle"})

    @pytest.mark.parametrize(
        "sign",
        [
            lambda: quiet(processes=1),  # an open shell
            lambda: quiet(cpu=250.0),
            lambda: quiet(ago=timedelta(minutes=30)),  # nobody knows what it does now
            lambda: None,
        ],
        ids=["process", "cpu", "old report", "no report"],
    )
    def test_any_sign_and_any_doubt_counts_as_active(
        self, sleepy: Sandbox, cluster: Cluster, says: Says, sign: Callable[[], Activity | None]
    ) -> None:
        says(sign())
        again = sleeping.keep(sleepy, cluster)
        sleepy.refresh_from_db()
        assert sleepy.phase == Phase.READY
        assert sleepy.last_active_at is not None
        assert again is not None
        assert again - clock.now() <= timedelta(minutes=5)
        says(quiet())
        sleeping.keep(sleepy, cluster)
        sleepy.refresh_from_db()
        assert sleepy.phase == Phase.READY, "it was active just now"

    def test_a_cluster_that_refuses_to_say_puts_nobody_to_sleep(
        self, sleepy: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(namespace: str) -> Activity:
            raise ClusterRefusedError("pods/log is forbidden")

        monkeypatch.setattr(cluster, "workspace_activity", refuse)
        sleeping.keep(sleepy, cluster)
        sleepy.refresh_from_db()
        assert sleepy.phase == Phase.READY

    def test_traffic_at_the_index_counts(self, sleepy: Sandbox, cluster: Cluster, says: Says) -> None:
        Sandbox.objects.update(last_active_at=clock.now() - timedelta(minutes=10))  # the index wrote it
        sleepy.refresh_from_db()
        says(quiet())
        again = sleeping.keep(sleepy, cluster)
        sleepy.refresh_from_db()
        assert sleepy.phase == Phase.READY
        assert again is not None
        assert again <= clock.now() + timedelta(minutes=20)

    def test_the_reconciler_reads_what_the_workspace_reports(self, sleepy: Sandbox, cluster: Cluster) -> None:
        """Simulated pods report being idle, unless an annotation says how busy they are."""
        (pod,) = pods(cluster, sleepy)
        path = POD.path(sleepy.namespace, pod["metadata"]["name"])
        busy = "simulated.petridish.dev/cpu-millis"
        cluster._api.merge(path, {"metadata": {"annotations": {busy: "400"}}})
        look(sleepy)
        assert (sleepy.phase, sleepy.last_active_at is None) == (Phase.READY, False)
        cluster._api.merge(path, {"metadata": {"annotations": {busy: None}}})
        Sandbox.objects.update(last_active_at=clock.now() - timedelta(minutes=31))
        look(sleepy)
        until(sleepy, lambda sandbox: sandbox.hibernated_at)


class TestHeld:
    def test_what_is_held_keeps_its_files(
        self, sleepy: Sandbox, cluster: Cluster, alice: User, ada: User, says: Says
    ) -> None:
        until_when = clock.now() + timedelta(days=3)
        holds.hold(sleepy.pk, until=until_when, reason="a dispute", by=ada)
        sleepy.refresh_from_db()
        says(quiet())
        assert sleeping.keep(sleepy, cluster) is None
        with pytest.raises(RefusedError, match="by ada: a dispute"):
            hibernation.hibernate(sleepy.pk, by=alice)
        sleepy.refresh_from_db()
        assert sleepy.phase == Phase.READY


def test_ending_it_in_its_sleep(asleep: Sandbox, alice: User) -> None:
    services.end(asleep.pk, by=alice)
    until(asleep, is_in(Phase.ENDED))
