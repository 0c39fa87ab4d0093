"""What looks like an orphan and is never touched, and what an admin may decide about one."""

import time

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import ConflictError, NotFoundError
from sandboxes.lifecycle import clock, observing, orphans, switch
from sandboxes.lifecycle.models import Alarm, Orphan, RegisteredCluster
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.orphaned import (
    HERE,
    installation,
    labels,
    let_grace_end,
    look,
    look_until_gone,
    new_name,
    orphan,
    told,
)

__all__ = ["installation", "labels", "orphan"]  # fixtures

pytestmark = pytest.mark.django_db


class TestNeverTouched:
    def test_the_canary(self, cluster: Cluster, hand: ByHand, installation: str) -> None:
        hand.make_namespace(
            new_name(), {"petridish.dev/installation": installation, "petridish.dev/canary": "true"}
        )
        assert observing.observe(HERE).orphans == 0

    def test_another_installations(self, cluster: Cluster, hand: ByHand, labels: dict[str, str]) -> None:
        hand.make_namespace(new_name(), labels | {"petridish.dev/installation": "another"})
        assert observing.observe(HERE).orphans == 0

    def test_one_that_became_another_installations_meanwhile(self, orphan: Orphan, hand: ByHand) -> None:
        look()
        let_grace_end()
        hand.label(orphan.name, _installation="another")
        look()
        orphan.refresh_from_db()
        assert "another installation's now" in orphan.last_error
        assert orphan.name in hand.namespaces()

    def test_one_that_was_made_again_under_its_name(
        self, orphan: Orphan, hand: ByHand, labels: dict[str, str]
    ) -> None:
        look()
        let_grace_end()
        hand.core.delete_namespace(orphan.name)
        while orphan.name in hand.namespaces():
            time.sleep(0.05)
        hand.make_namespace(orphan.name, labels)
        Orphan.objects.update(check_at=clock.now())
        orphans.sweep()
        assert orphan.name in hand.namespaces()
        orphan.refresh_from_db()
        assert orphan.gone_at is not None

    def test_anything_while_deletions_are_stopped_or_everything_is_paused(
        self, orphan: Orphan, hand: ByHand, ada: User
    ) -> None:
        look()
        let_grace_end()
        switch.pause(ada, "a look first")
        look()
        switch.resume(ada)
        switch.stop_deletions("a look first")
        look()
        assert orphan.name in hand.namespaces()
        switch.allow_deletions(ada, "looked")
        look_until_gone(hand, orphan.name)

    def test_anything_on_a_cluster_that_is_another_one_now(self, orphan: Orphan, hand: ByHand) -> None:
        look()
        let_grace_end()
        RegisteredCluster.objects.update(uid="the-one-that-it-was")
        look()
        assert orphan.name in hand.namespaces()

    def test_too_many_at_once(
        self, cluster: Cluster, hand: ByHand, labels: dict[str, str], ada: User
    ) -> None:
        names = [new_name() for _ in range(6)]
        for name in names:
            hand.make_namespace(name, labels)
        look()
        let_grace_end()
        look()
        assert switch.state().deletions_stopped
        assert hand.namespaces() >= set(names)
        switch.allow_deletions(ada, "they were a test's")
        for name in names:
            look_until_gone(hand, name)


class TestAdmin:
    def test_may_keep_one_as_it_is(self, orphan: Orphan, hand: ByHand, ada: User) -> None:
        look()
        hand.allow_all(orphan.name)
        look()
        orphans.keep_one(orphan.pk, by=ada)
        let_grace_end()
        look()
        assert orphan.name in hand.namespaces()
        assert told(orphan)[-2:] == ["alarm.cleared", "kept"]
        assert not Alarm.objects.filter(kind=orphans.ALARM, cleared_at=None).exists()
        orphan.refresh_from_db()
        assert orphan.kept_by == ada
        assert orphan in orphans.open_ones()

    def test_need_not_wait(self, orphan: Orphan, hand: ByHand, ada: User) -> None:
        orphans.delete_now(orphan.pk, by=ada)
        look_until_gone(hand, orphan.name)
        assert told(orphan) == ["deletion_ordered", "quarantined", "deleted", "closed"]
        with pytest.raises(ConflictError):
            orphans.delete_now(orphan.pk, by=ada)

    def test_cannot_decide_about_what_there_is_not(self, db: None, ada: User) -> None:
        with pytest.raises(NotFoundError):
            orphans.keep_one(1, by=ada)
