"""One listing of a cluster beside the rows: what differs is marked, what does not costs nothing."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster import observation
from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.observation import Listing, SeenNamespace
from sandboxes.cluster.spec import Labels
from sandboxes.errors import ClusterUnavailableError, ConflictError
from sandboxes.lifecycle import clock, clusters, identity, limits, observing, registry, vault
from sandboxes.lifecycle.models import Alarm, Orphan, RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db

HERE = "simulated"
DIGEST = "d" * 32


@pytest.fixture(autouse=True)
def own_installation(settings: Any) -> None:
    settings.INSTALLATION_ID = f"watch-{uuid4().hex[:12]}"


@pytest.fixture
def hand(simulator: Simulator) -> Iterator[ByHand]:
    hand = ByHand(str(simulator.kubeconfig))
    yield hand
    hand.close()


@pytest.fixture
def seen(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, SeenNamespace]:
    """What the listing finds; tests put in what they like."""
    namespaces: dict[str, SeenNamespace] = {}
    monkeypatch.setattr(observation, "listing", lambda *args: Listing(dict(namespaces)))
    return namespaces


def quiet(owner: User, number: int, seen: dict[str, SeenNamespace], **changes: Any) -> Sandbox:
    """A row, and its namespace as it was last found right."""
    name = f"sbx-quiet-{number}"
    now = clock.now()
    given: dict[str, Any] = {
        "name": name,
        "namespace": name,
        "namespace_uid": f"uid-{number}",
        "observed": DIGEST,
    }
    given |= {"charged": True, "phase_at": now - rows.HOUR, **changes}
    seen[name] = SeenNamespace(name, f"uid-{number}", "Active", {}, DIGEST)
    return rows.ready(owner, **given)


def changed(namespace: SeenNamespace, **fields: Any) -> SeenNamespace:
    values = {name: getattr(namespace, name) for name in ("name", "uid", "phase", "labels", "digest")}
    return SeenNamespace(**(values | fields))


@contextmanager
def statements() -> Iterator[list[str]]:
    found: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        found.append(sql)
        return execute(sql, *args)

    with connection.execute_wrapper(note):
        yield found


class TestMarking:
    def test_what_agrees_is_left_alone(self, alice: User, seen: dict[str, SeenNamespace]) -> None:
        row = quiet(alice, 1, seen)
        before = Sandbox.objects.filter(pk=row.pk).values().get()
        assert observing.observe(HERE) == observing.Seen(namespaces=1)
        assert Sandbox.objects.filter(pk=row.pk).values().get() == before

    @pytest.mark.parametrize(
        "difference",
        [None, {"digest": "e" * 32}, {"uid": "another"}, {"phase": "Terminating"}],
        ids=["missing", "digest", "uid", "terminating"],
    )
    @pytest.mark.parametrize("phase", [Phase.READY, Phase.HIBERNATED, Phase.ISOLATED])
    def test_what_differs_is_to_be_looked_into(
        self, alice: User, seen: dict[str, SeenNamespace], phase: Phase, difference: dict[str, str] | None
    ) -> None:
        row = quiet(alice, 1, seen, phase=phase)
        other = quiet(alice, 2, seen)
        found = seen.pop(row.namespace or "")
        if difference is not None:
            seen[found.name] = changed(found, **difference)
        assert observing.observe(HERE).marked == 1
        row.refresh_from_db()
        assert row.inspect_due
        assert row.next_check_at is not None
        assert row.next_check_at <= clock.now()
        other.refresh_from_db()
        assert not other.inspect_due
        assert observing.observe(HERE).marked == 0  # it is marked already

    @pytest.mark.parametrize("phase", [Phase.PROVISIONING, Phase.PROBING, Phase.ENDING, Phase.STUCK])
    def test_a_worker_is_at_it_anyway(
        self, alice: User, seen: dict[str, SeenNamespace], phase: Phase
    ) -> None:
        quiet(alice, 1, seen, phase=phase)
        seen.clear()
        assert observing.observe(HERE).marked == 0

    def test_one_that_opened_while_the_listing_ran_is_not_misjudged(
        self, alice: User, seen: dict[str, SeenNamespace], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = quiet(alice, 1, seen, phase=Phase.PROBING)
        old = observation.listing

        def slow(*args: Any) -> Listing:
            found = old(*args)
            Sandbox.objects.filter(pk=row.pk).update(phase=Phase.READY, phase_at=clock.now(), observed="")
            return found

        monkeypatch.setattr(observation, "listing", slow)
        assert observing.observe(HERE).marked == 0
        monkeypatch.setattr(observation, "listing", old)
        assert observing.observe(HERE).marked == 1

    def test_another_clusters_rows_are_none_of_its_business(
        self, alice: User, seen: dict[str, SeenNamespace]
    ) -> None:
        quiet(alice, 1, seen, cluster="elsewhere")
        seen.clear()
        assert observing.observe(HERE).marked == 0

    def test_a_real_one_is_found_right_once_and_changed_by_hand_then(
        self, alice: User, cluster: Cluster, hand: ByHand, settings: Any
    ) -> None:
        labels = {"petridish.dev/installation": settings.INSTALLATION_ID}
        name = f"sbx-{uuid4().hex[:8]}"
        uid = hand.make_namespace(name, labels | {"petridish.dev/sandbox": "1"})
        row = rows.ready(alice, name=name, namespace=name, namespace_uid=uid, charged=True)
        found = observation.listing(cluster, settings.INSTALLATION_ID).namespaces[name]
        Sandbox.objects.filter(pk=row.pk).update(
            observed=found.digest, phase_at=clock.now() - timedelta(seconds=1)
        )
        assert observing.observe(HERE).marked == 0
        hand.allow_all(name)
        assert observing.observe(HERE).marked == 1


class TestCost:
    def test_a_quiet_pass_asks_once_however_many_there_are_and_writes_the_clusters_row(
        self, alice: User, seen: dict[str, SeenNamespace]
    ) -> None:
        observing.observe(HERE)  # the first look also compares marks and volumes
        counts = []
        for more in (range(3), range(3, 60)):
            for number in more:
                quiet(alice, number, seen)
            with statements() as asked:
                assert observing.observe(HERE).marked == 0
            counts.append(len(asked))
            written = [
                sql for sql in asked if sql.lstrip().upper().startswith(("UPDATE", "INSERT", "DELETE"))
            ]
            assert all("lifecycle_registeredcluster" in sql for sql in written), written
        assert counts[0] == counts[1]

    def test_a_quiet_pass_makes_no_request_but_lists(
        self, alice: User, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        observing.observe(HERE)
        asked: list[tuple[str, str, bool]] = []
        answer = cluster.api._answer

        def note(method: str, path: str, query: Any = None, *args: Any, **more: Any) -> Any:
            asked.append((method, path, "limit" in (query or {})))
            return answer(method, path, query, *args, **more)

        monkeypatch.setattr(cluster.api, "_answer", note)
        observing.observe(HERE)
        assert asked
        assert all(method == "GET" and paged for method, _, paged in asked)


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
