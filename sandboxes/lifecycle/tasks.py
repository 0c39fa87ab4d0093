"""Celery's side of the lifecycle. Tasks take ids and contain no logic.

A message is a hint: that there may be something to do. What there is to do is in the rows.
"""

import threading
from collections.abc import Callable

from celery import shared_task

from sandboxes.lifecycle import (
    crew,
    egress,
    expiry,
    honeytokens,
    late,
    observing,
    orphans,
    preflight,
    quota,
    securing,
    switch,
)

_running: dict[str, threading.Lock] = {}


def _once(work: Callable[[], object]) -> None:
    """Not while it still runs in this process (a cluster may stall it), and not while the engine is paused.

    So whatever hangs holds one of the worker's threads, and the others go on.
    """
    lock = _running.setdefault(work.__module__ + work.__name__, threading.Lock())
    if not lock.acquire(blocking=False):
        return
    try:
        if not switch.paused():
            work()
    finally:
        lock.release()


@shared_task(name="sandboxes.lifecycle.tasks.reconcile", ignore_result=True)
def reconcile(sandbox_id: int) -> None:
    """The hint names a row; whoever is longest overdue has the next free hand all the same."""
    crew.wake()


@shared_task(name="sandboxes.lifecycle.tasks.sweep", ignore_result=True)
def sweep() -> None:
    late.check()  # paused or not: an isolation waits then too
    honeytokens.tell()
    _once(expiry.run)
    crew.wake()


@shared_task(name="sandboxes.lifecycle.tasks.admit", ignore_result=True)
def admit() -> None:
    _once(quota.admit)


@shared_task(name="sandboxes.lifecycle.tasks.observe", ignore_result=True)
def observe() -> None:
    _once(observing.observe_all)


@shared_task(name="sandboxes.lifecycle.tasks.end_egress", ignore_result=True)
def end_egress() -> None:
    _once(egress.end_due)


@shared_task(name="sandboxes.lifecycle.tasks.check_cluster", ignore_result=True)
def check_cluster(name: str) -> None:
    preflight.check(name)


@shared_task(name="sandboxes.lifecycle.tasks.read_logs", ignore_result=True)
def read_logs() -> None:
    _once(securing.read_logs)


@shared_task(name="sandboxes.lifecycle.tasks.sweep_orphans", ignore_result=True)
def sweep_orphans() -> None:
    _once(orphans.sweep)
