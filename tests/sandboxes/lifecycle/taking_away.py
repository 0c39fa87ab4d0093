"""What the workers do to a sandbox that ends, and what is then written down."""

import time
from collections.abc import Callable
from typing import Any

from sandboxes.audit.models import Entry
from sandboxes.lifecycle import (
    clock,
    engine,
)
from sandboxes.lifecycle.models import Receipt, Sandbox
from sandboxes.lifecycle.phases import Phase


def wait_until(look: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def work_until(sandbox: Sandbox, phase: Phase, seconds: float = 20) -> Sandbox:
    """What the workers do, of this sandbox only."""
    deadline = time.monotonic() + seconds
    while sandbox.phase != phase:
        said = f"still {sandbox.phase}: {sandbox.blocker or sandbox.last_error}"
        assert time.monotonic() < deadline, said
        Sandbox.objects.filter(pk=sandbox.pk).update(next_check_at=clock.Now())
        engine.reconcile(sandbox.pk)
        sandbox.refresh_from_db()
    return sandbox


def document_of(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = Receipt.objects.get(sandbox=sandbox).document
    return found


def moves_of(sandbox: Sandbox, phase: str) -> list[Entry]:
    return list(
        Entry.objects.filter(subject=f"sandbox:{sandbox.pk}", action=f"sandbox.{phase}").order_by("id")
    )


def is_charged(sandbox: Sandbox) -> bool:
    return Sandbox.objects.filter(pk=sandbox.pk, charged=True).exists()
