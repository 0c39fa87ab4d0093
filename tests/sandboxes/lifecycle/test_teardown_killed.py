"""Workers that die while they take a sandbox away, and two that do it at once."""

import contextlib
from collections.abc import Iterable
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection

from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import (
    clusters,
    receipts,
    teardown,
)
from sandboxes.lifecycle.models import Receipt, Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.taking_away import moves_of, wait_until

pytestmark = pytest.mark.django_db


class KilledError(BaseException):
    """Not an Exception: nothing in the code may catch it, as nothing catches `kill -9`."""


CALLS = [
    "namespace",
    "inventory",
    "revoke_access",
    "delete_workloads",
    "pods_left",
    "delete_namespace",
    "leftovers",
]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_call_another_worker_ends_it(
    box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, call: str, moment: str
) -> None:
    start_ending(box, reason="expired")
    method = getattr(cluster, call)
    deaths: list[str] = []

    def dying(*args: Any, **options: Any) -> Any:
        if deaths:
            return method(*args, **options)
        if moment == "after":
            method(*args, **options)
        deaths.append(call)
        raise KilledError

    monkeypatch.setattr(cluster, call, dying)
    with contextlib.suppress(KilledError):
        wait_until(lambda: teardown.take(box) is None and box.phase != Phase.ENDING)
    assert deaths
    again = Sandbox.objects.get(pk=box.pk)  # another worker knows only the row
    wait_until(lambda: teardown.take(again) is None and again.phase == Phase.ENDED)
    _is_whole(again)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_the_receipt_it_is_written_by_the_next_one_once(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    start_ending(box, reason="expired")
    issue = receipts.issue

    def dying(*args: Any, **options: Any) -> Receipt:
        if moment == "after":
            issue(*args, **options)
        raise KilledError

    with monkeypatch.context() as once:
        once.setattr(receipts, "issue", dying)
        with pytest.raises(KilledError):
            wait_until(lambda: teardown.take(box) is None and box.phase != Phase.ENDING)
    assert not Receipt.objects.filter(sandbox=box).exists()
    again = Sandbox.objects.get(pk=box.pk)
    assert again.phase == Phase.ENDING
    wait_until(lambda: teardown.take(again) is None and again.phase == Phase.ENDED)
    _is_whole(again)


def _is_whole(sandbox: Sandbox) -> None:
    receipt = Receipt.objects.get(sandbox=sandbox)
    assert receipts.verify(receipt.document, receipt.key_id, receipt.signature).ok
    names = ("access_revoked_at", "workloads_gone_at", "namespace_deleted_at", "absent_at")
    times = [receipt.document[name] for name in names]
    assert times == sorted(times)
    assert all(one["absent_at"] for one in receipt.document["existed"])
    assert len(moves_of(sandbox, "ended")) == 1
    assert verify().ok


@pytest.mark.django_db(transaction=True)
def test_two_workers_write_one_receipt(box: Sandbox) -> None:
    """Both saw it gone, both come to write: one does, and the other finds nothing left to do."""
    start_ending(box, reason="expired")
    wait_until(lambda: (teardown.take(box), "namespace_deleted_at" in box.teardown)[1])
    cluster = clusters.get(box.cluster)
    wait_until(lambda: cluster.namespace(box.namespace or "") is None)
    both, said = Barrier(2), []

    def worker() -> None:
        mine = Sandbox.objects.select_related("owner").get(pk=box.pk)
        both.wait()
        try:
            said.append(teardown.take(mine))
        finally:
            connection.close()

    threads = [Thread(target=worker) for _ in range(2)]
    _run(threads)
    assert said == [None, None]
    assert Receipt.objects.filter(sandbox=box).count() == 1
    assert len(moves_of(box, "ended")) == 1
    assert verify().ok


def _run(threads: Iterable[Thread]) -> None:
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(30)
