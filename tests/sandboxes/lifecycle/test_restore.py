"""The database is restored from a backup: time went back, and the clusters know better."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.audit import anchor
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster import marking
from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.lifecycle import clock, engine, observing, orphans, restore, services, switch
from sandboxes.lifecycle.crew import Crew
from sandboxes.lifecycle.models import Alarm, Orphan, RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db

HERE = "simulated"


class Backup:
    """Every row of the ledger and the lifecycle, and the numbers to come: what `pg_dump` would keep."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tablename FROM pg_tables WHERE tablename LIKE 'lifecycle\\_%%' OR tablename = 'audit_entry'"
            )
            self._tables = [name for (name,) in cursor.fetchall()]
            self._rows = {name: self._read(name) for name in self._tables}
            cursor.execute("SELECT last_value FROM lifecycle_sandbox_id_seq")
            self._number = cursor.fetchone()[0]

    def put_back(self) -> None:
        """As the database's owner restores it: no trigger and no constraint is asked."""
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_rows")  # it fires even so
            for name in self._tables:
                cursor.execute(f"DELETE FROM {name}")  # noqa: S608 -- a table's name
                cursor.execute(
                    f"INSERT INTO {name} SELECT * FROM json_populate_recordset(NULL::{name}, %s)",  # noqa: S608
                    [self._rows[name]],
                )
            cursor.execute("ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_rows")
            cursor.execute("SET LOCAL session_replication_role = origin")
            cursor.execute("SELECT setval('lifecycle_sandbox_id_seq', %s)", [self._number])

    @staticmethod
    def _read(table: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT coalesce(json_agg(t), '[]')::text FROM {table} AS t")  # noqa: S608
            return str(cursor.fetchone()[0])


@pytest.fixture(autouse=True)
def installation(settings: Any, tmp_path: Path) -> str:
    settings.LEDGER_ANCHOR = tmp_path / "head.json"
    settings.INSTALLATION_ID = f"restore-{uuid4().hex[:12]}"
    return str(settings.INSTALLATION_ID)


@pytest.fixture
def hand(simulator: Simulator) -> Iterator[ByHand]:
    hand = ByHand(str(simulator.kubeconfig))
    yield hand
    hand.close()


def work_until(sandbox: Sandbox, phase: Phase) -> Sandbox:
    deadline = time.monotonic() + 20
    while sandbox.phase != phase:
        assert time.monotonic() < deadline, f"still {sandbox.phase}: {sandbox.last_error or sandbox.failure}"
        engine.sweep()
        sandbox.refresh_from_db()
        time.sleep(0.02)
    return sandbox


def another(owner: User) -> Sandbox:
    return services.open_sandbox(
        owner=owner, profile="python", lease=timedelta(hours=1), data_class="public", tools=[], by=None
    )


def look() -> None:
    """What beat has done within a few minutes."""
    RegisteredCluster.objects.update(compared_at=None)
    restore.check()
    observing.observe("simulated")
    Orphan.objects.update(check_at=clock.now())
    Sandbox.objects.filter(next_check_at__isnull=False).update(next_check_at=clock.now())
    engine.sweep()
    orphans.sweep()


def let_grace_end() -> None:
    Orphan.objects.filter(delete_after__isnull=False).update(delete_after=clock.now())


class Story:
    """`first` was there before the backup and has ended since; `second` is newer than the backup."""

    def __init__(self, first: Sandbox, owner: User) -> None:
        self.first = work_until(first, Phase.READY)
        look()
        backup = Backup()
        self.second = work_until(another(owner), Phase.READY)
        services.end(first.pk, by=owner)
        work_until(first, Phase.ENDED)
        look()
        anchor.keep()
        self.newest = Entry.objects.order_by("-id").values_list("pk", flat=True)[0]
        backup.put_back()


@pytest.fixture
def story(sandbox: Sandbox, alice: User, cluster: Cluster, installation: str) -> Story:
    assert canary_namespace(installation) is not None
    return Story(sandbox, alice)


class TestDetection:
    def test_nothing_is_said_of_a_database_that_went_on(self, sandbox: Sandbox) -> None:
        anchor.keep()
        another(sandbox.owner)
        assert restore.check()
        assert restore.waits_since() is None

    def test_by_the_file_beside_the_database(self, story: Story) -> None:
        assert not restore.check()
        assert switch.state().deletions_stopped
        assert not switch.may_delete()
        alarm = Alarm.objects.get(kind=restore.ALARM, cleared_at=None)
        assert f"ledger entry {story.newest}" in alarm.message
        assert Entry.objects.filter(action="restore.detected").count() == 1
        assert not restore.check()  # and says so once
        assert Entry.objects.filter(action="restore.detected").count() == 1

    def test_before_the_first_old_row_is_worked_on(self, story: Story) -> None:
        """A lease that was extended after the backup looks over: the very first sweep must not take it away."""
        assert switch.may_delete()
        engine.sweep()
        assert not switch.may_delete()

    def test_a_crew_looks_before_it_hands_anything_out(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        monkeypatch.setattr(restore, "check", lambda: order.append("restore"))
        monkeypatch.setattr(Crew, "_hand_out", lambda self: order.append("work"))
        crew = Crew(1)
        crew.start()
        crew.wake()
        wait_until = time.monotonic() + 5
        while len(order) < 2 and time.monotonic() < wait_until:
            time.sleep(0.01)
        crew.rest(1)
        assert order[:2] == ["restore", "work"]

    def test_by_the_mark_in_the_cluster_when_the_file_was_restored_as_well(
        self, story: Story, settings: Any
    ) -> None:
        settings.LEDGER_ANCHOR.unlink()
        assert restore.check()
        look()
        assert restore.waits_since() is not None
        assert "cluster simulated names ledger entry" in Alarm.objects.get(kind=restore.ALARM).message

    def test_even_when_the_ledger_has_grown_past_the_mark_since(self, story: Story, alice: User) -> None:
        while Entry.objects.count() <= story.newest + 5:
            another(alice)
        anchor.keep()  # does not cover it up
        assert not restore.check()

    def test_a_file_that_cannot_be_read_is_no_proof(self, sandbox: Sandbox, settings: Any) -> None:
        settings.LEDGER_ANCHOR.write_text("{")
        assert not restore.check()
        assert switch.state().deletions_stopped

    def test_a_spoiled_mark_is_no_proof_either(
        self, story: Story, cluster: Cluster, hand: ByHand, installation: str, settings: Any
    ) -> None:
        settings.LEDGER_ANCHOR.unlink()
        home = f"/api/v1/namespaces/{canary_namespace(installation)}/configmaps/petridish-ledger"
        hand.call("PATCH", home, {"data": {"head": "later"}})
        assert marking.read(cluster, installation) == marking.UNREADABLE
        look()
        assert restore.waits_since() is not None


class TestUntilConfirmed:
    def test_nothing_is_deleted(self, story: Story, hand: ByHand) -> None:
        for _ in range(5):
            look()
            let_grace_end()
        assert story.second.namespace in hand.namespaces()
        assert Orphan.objects.get().name == story.second.namespace
        assert Orphan.objects.get().deleted_at is None
        assert not Alarm.objects.filter(kind="orphan", cleared_at__isnull=False).exists()

    def test_what_the_rows_do_not_know_is_cut_off(self, story: Story, hand: ByHand) -> None:
        look()
        assert hand.policies(story.second.namespace or "") == {"deny-all"}
        assert Orphan.objects.get().quarantined_at is not None

    def test_a_row_whose_sandbox_is_gone_ends_with_the_reason(self, story: Story) -> None:
        old = Sandbox.objects.get(pk=story.first.pk)
        assert old.phase == Phase.READY
        look()
        look()
        old.refresh_from_db()
        assert old.phase in (Phase.ENDING, Phase.ENDED)
        assert "deleted by somebody else" in old.end_reason

    def test_no_new_sandbox_gets_the_number_of_one_that_was_forgotten(
        self, story: Story, alice: User
    ) -> None:
        """The number decides the name, and the index token."""
        restore.check()
        assert another(alice).pk > story.second.pk

    def test_allowing_deletions_is_not_enough(self, story: Story, ada: User, hand: ByHand) -> None:
        look()
        let_grace_end()
        switch.allow_deletions(ada, "let me through")
        assert not restore.may_delete_on(HERE)
        look()
        assert switch.state().deletions_stopped
        assert story.second.namespace in hand.namespaces()


class TestConfirming:
    def test_it_takes_a_reason_and_a_restore(self, sandbox: Sandbox, ada: User) -> None:
        with pytest.raises(InvalidInputError):
            restore.confirm(ada, " ")
        with pytest.raises(ConflictError):
            restore.confirm(ada, "looked")

    def test_deletions_go_on_and_orphans_have_their_grace_again(
        self, story: Story, ada: User, hand: ByHand
    ) -> None:
        look()
        let_grace_end()
        restore.confirm(ada, "The backup of noon; bob's new sandbox may go.")
        look()
        orphan = Orphan.objects.get()
        assert orphan.delete_after is not None
        assert orphan.delete_after > clock.now() + timedelta(hours=23)
        assert story.second.namespace in hand.namespaces()
        let_grace_end()
        deadline = time.monotonic() + 20
        while story.second.namespace in hand.namespaces():
            assert time.monotonic() < deadline, Orphan.objects.get().last_error
            look()
        told = Entry.objects.get(action="restore.confirmed")
        assert (told.actor, told.data["anchor"]["id"]) == ("ada", story.newest)

    def test_the_ledger_as_it_is_now_is_the_one_that_counts(
        self, story: Story, ada: User, cluster: Cluster, installation: str
    ) -> None:
        assert not verify().ok
        look()
        restore.confirm(ada, "The backup of noon.")
        assert verify().ok
        for _ in range(2):
            look()
        assert restore.check()
        mark = marking.read(cluster, installation)
        assert mark is not None
        assert anchor.is_known(anchor.Head(mark.id, mark.mac))
        assert not switch.state().deletions_stopped
        assert not Alarm.objects.filter(kind=restore.ALARM, cleared_at=None).exists()


class TestMayDelete:
    def test_only_where_the_mark_was_compared_a_short_while_ago(self, sandbox: Sandbox) -> None:
        assert not restore.may_delete_on(HERE)
        look()
        assert restore.may_delete_on(HERE)
        RegisteredCluster.objects.update(compared_at=clock.now() - timedelta(hours=1))
        assert not restore.may_delete_on(HERE)

    def test_not_on_another_cluster(self, sandbox: Sandbox) -> None:
        look()
        RegisteredCluster.objects.update(strange_uid="another")
        assert not restore.may_delete_on(HERE)
