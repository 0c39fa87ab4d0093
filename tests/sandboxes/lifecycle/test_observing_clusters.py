"""Looking at clusters: in turns; their canary; a listing that is too old; one that is another now."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.observation import SeenNamespace
from sandboxes.cluster.spec import Labels
from sandboxes.errors import ClusterUnavailableError, ConflictError
from sandboxes.lifecycle import clock, clusters, identity, limits, observing, registry, vault
from sandboxes.lifecycle.models import Alarm, Orphan, RegisteredCluster, Sandbox
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.listed import HERE, own_installation, quiet, seen

__all__ = ["own_installation", "seen"]  # fixtures

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)  # each look has a thread, and with it a connection, of its own
class TestTurns:
    def test_each_cluster_is_looked_at_when_it_is_due(self, cluster: Cluster, settings: Any) -> None:
        assert observing.observe_all() == 1
        assert observing.observe_all() == 0
        RegisteredCluster.objects.update(observe_at=clock.now())
        assert observing.observe_all() == 1

    def test_a_cluster_that_works_too_little_is_left_alone(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry.get(HERE)
        RegisteredCluster.objects.update(open_until=clock.now() + timedelta(minutes=1))
        monkeypatch.setattr(cluster, "uid", lambda: pytest.fail("it was asked"))
        assert observing.observe_all() == 1
        assert registry.get(HERE).listed_at is None

    def test_one_that_cannot_be_listed_keeps_nobody_else_from_it(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        RegisteredCluster.objects.create(name="elsewhere")

        def down() -> str:
            raise ClusterUnavailableError("It does not answer.")

        monkeypatch.setattr(cluster, "uid", down)
        assert observing.observe_all() == 2
        assert observing.observe_all() == 0  # it is tried again when it is due

    def test_one_that_hangs_keeps_nobody_from_seeing_the_others(
        self, alice: User, cluster: Cluster, hand: ByHand, settings: Any
    ) -> None:
        """Neither in this round nor in the next, and it is not asked a second time meanwhile."""
        settings.OBSERVE_EVERY = timedelta(seconds=1)
        with silence() as kubeconfig:
            hanging = {"name": "a-first-by-name", "source": "kubeconfig", "context": "c"}
            text = vault.encrypt("a-first-by-name", json.dumps(kubeconfig))
            RegisteredCluster.objects.create(**hanging, kubeconfig=text)
            name = f"sbx-{uuid4().hex[:8]}"
            assert observing.observe_all() == 2
            first = registry.get(HERE).listed_at
            assert first is not None
            assert registry.get("a-first-by-name").observe_at > clock.now() + timedelta(minutes=5)  # type: ignore[operator]
            rows.ready(alice, name=name, namespace=name, namespace_uid="gone", charged=True, phase_at=first)
            RegisteredCluster.objects.filter(name=HERE).update(observe_at=clock.now())
            assert observing.observe_all() == 1
            assert Sandbox.objects.get().inspect_due
        deadline = time.monotonic() + 60  # it ends with an error, and is due again soon
        while registry.get("a-first-by-name").observe_at > clock.now() + timedelta(minutes=5):  # type: ignore[operator]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert registry.get("a-first-by-name").listed_at is None

    def test_a_mistake_of_ours_about_one_is_told_and_stops_no_other(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        RegisteredCluster.objects.create(name="a-first-by-name")
        real = observing.observe

        def mistaken(name: str) -> object:
            return 1 / 0 if name != HERE else real(name)

        monkeypatch.setattr(observing, "observe", mistaken)
        assert observing.observe_all() == 2
        assert registry.get(HERE).listed_at is not None
        assert "Cluster a-first-by-name was not observed" in caplog.text
        assert "ZeroDivisionError" in caplog.text


@contextmanager
def silence() -> Iterator[dict[str, Any]]:
    """The kubeconfig of a cluster that takes every connection and says nothing, until this is left."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield {
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }


class TestCanary:
    """Made beforehand, so that the first sandbox of a cluster does not wait for it."""

    @pytest.fixture(autouse=True)
    def home(self, settings: Any) -> str:
        return canary_namespace(settings.INSTALLATION_ID)

    def test_it_is_made_where_sandboxes_may_come(self, cluster: Cluster, home: str) -> None:
        registry.get(HERE)
        observing.observe(HERE)
        state = cluster.namespace(home)
        assert state is not None
        assert Labels.CANARY in state.labels
        found = list(cluster.api.list(kind("apps/v1", "Deployment"), home))
        assert [item["metadata"]["name"] for item in found] == ["canary"]

    @pytest.mark.parametrize("changes", [{"trusted": False}, {"enabled": False}], ids=str)
    def test_and_nowhere_else(self, cluster: Cluster, home: str, changes: dict[str, bool]) -> None:
        registry.get(HERE)
        RegisteredCluster.objects.update(**changes)
        observing.observe(HERE)
        assert cluster.namespace(home) is None
        RegisteredCluster.objects.update(trusted=True, enabled=True, compared_at=None)
        observing.observe(HERE)
        assert cluster.namespace(home) is not None

    def test_it_is_made_once(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        observing.observe(HERE)
        monkeypatch.setattr(cluster, "canary", lambda *args: pytest.fail("it was asked for again"))
        RegisteredCluster.objects.update(compared_at=None)
        observing.observe(HERE)

    def test_where_it_cannot_be_made_the_look_is_a_good_one(
        self, cluster: Cluster, home: str, settings: Any
    ) -> None:
        settings.PROBE_IMAGE = "registry.example/other:1"
        settings.IMAGE_REGISTRIES = ["registry.example/ours"]
        observing.observe(HERE)
        assert registry.get(HERE).listed_at is not None
        assert cluster.namespace(home) is None


class TestAge:
    def test_a_listing_that_is_too_old_is_told_and_a_good_one_ends_the_alarm(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry.get(HERE)
        old = clock.now() - timedelta(hours=1)
        RegisteredCluster.objects.update(listed_at=old, open_until=clock.now() + timedelta(minutes=1))
        observing.observe(HERE)
        told = Alarm.objects.get(kind=observing.LISTING_OLD, cleared_at=None)
        assert "60 minutes ago" in told.message
        RegisteredCluster.objects.update(open_until=None)
        observing.observe(HERE)
        told.refresh_from_db()
        assert told.cleared_at is not None


class TestIdentity:
    @pytest.fixture
    def elsewhere(self, alice: User, seen: dict[str, SeenNamespace], cluster: Cluster) -> Sandbox:
        """The kubeconfig leads to a cluster in which nothing of ours is."""
        row = quiet(alice, 1, seen)
        observing.observe(HERE)
        seen.clear()
        RegisteredCluster.objects.update(uid="the-one-that-it-was")
        return row

    def test_another_cluster_is_kept_away_from(self, elsewhere: Sandbox) -> None:
        assert observing.observe(HERE) == observing.Seen()
        row = registry.get(HERE)
        assert (row.trusted, row.uid) == (False, "the-one-that-it-was")
        assert row.open_until is not None
        assert row.open_until > clock.now()
        assert not identity.may_ask(RegisteredCluster(open_until=row.open_until))
        assert Alarm.objects.filter(kind=identity.ALARM, cleared_at=None).exists()
        elsewhere.refresh_from_db()
        assert not elsewhere.inspect_due
        assert not Orphan.objects.exists()

    def test_no_request_leaves_the_process_for_it(self, elsewhere: Sandbox, cluster: Cluster) -> None:
        observing.observe(HERE)
        limits.forget()  # as another process: this one may still spend what it drew from the bucket before
        clusters.get.cache_clear()
        with pytest.raises(ClusterUnavailableError):
            clusters.get(HERE).namespace("default")

    def test_it_goes_on_when_the_right_one_answers_again(self, elsewhere: Sandbox, cluster: Cluster) -> None:
        observing.observe(HERE)
        RegisteredCluster.objects.update(uid=registry.get(HERE).strange_uid)
        assert observing.observe(HERE).marked == 1
        row = registry.get(HERE)
        assert (row.strange_uid, row.open_until) == ("", None)
        assert not row.trusted  # that is for a person to say
        assert not Alarm.objects.filter(kind=identity.ALARM, cleared_at=None).exists()

    def test_or_when_an_admin_says_that_the_new_one_is_meant(self, elsewhere: Sandbox, ada: User) -> None:
        with pytest.raises(ConflictError):
            identity.adopt(HERE, by=ada, reason="it was rebuilt")
        observing.observe(HERE)
        identity.adopt(HERE, by=ada, reason="it was rebuilt")
        assert observing.observe(HERE).marked == 1
        told = Entry.objects.get(action="cluster.adopted")
        assert told.data["before"] == "the-one-that-it-was"
        assert told.actor == "ada"


@pytest.mark.django_db(transaction=True)
def test_of_several_workers_one_lists_a_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.get(HERE)
    looked: list[str] = []
    monkeypatch.setattr(observing, "observe", looked.append)
    together = threading.Barrier(4)

    def worker() -> None:
        together.wait()
        observing.observe_all()
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert looked == [HERE]
