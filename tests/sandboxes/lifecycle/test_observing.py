"""One listing of a cluster beside the rows: what differs is marked, what does not costs nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.cluster import observation
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observation import Listing, SeenNamespace
from sandboxes.lifecycle import clock, observing
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.listed import HERE, own_installation, quiet, seen

__all__ = ["own_installation", "seen"]  # fixtures

pytestmark = pytest.mark.django_db


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
