"""Many sandboxes from approval to receipt, beside all that a worker does meanwhile, and how it has to end.

Waits are shortened, and nothing else is: what comes after a failure comes, sooner.
"""

import contextlib
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from django.conf import settings
from django.db.models import Sum

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster import api
from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import ConflictError
from sandboxes.lifecycle import clock, clusters, engine, limits, receipts, registry, services, specs, timing
from sandboxes.lifecycle.models import Alarm, EngineState, Orphan, Quota, RegisteredCluster, Sandbox, Step
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.phases import OVER, Phase

READ_SECONDS: Final = 1.0  # of patience with the API, in place of 30
STALL_SECONDS: Final = 2.0  # longer than that, as 30 s and more are longer than 30
_SHORTER: Final = 20  # times
_LEASE: Final = timedelta(hours=4)
_WAY: Final = ("pending", "provisioning", "probing", "ready")


def shorten_waits(put: Callable[[Any, str, Any], None], *, read_seconds: float = READ_SECONDS) -> None:
    """`put` is `setattr`, or a test's own that puts everything back."""
    put(api, "READ_SECONDS", read_seconds)
    put(engine, "backoff", lambda *given: timing.backoff(*given) / _SHORTER)
    put(limits, "_FIRST_PAUSE", limits._FIRST_PAUSE / _SHORTER)
    put(limits, "_LONGEST_PAUSE", limits._LONGEST_PAUSE / _SHORTER)
    put(settings, "OBSERVE_EVERY", timedelta(seconds=2))


def forget() -> None:
    """What this process keeps of a cluster."""
    clusters.get.cache_clear()
    specs.templates.cache_clear()
    specs.forget_facts()
    limits.forget()


def set_limits(*, each: int) -> None:
    """So many for each person at once; the cluster may be asked as fast as it can answer."""
    Quota.objects.update_or_create(scope=Scope.PERSON, subject="", defaults={"sandboxes": each})
    registry.ensure_environment_cluster()
    RegisteredCluster.objects.update(requests_per_second=5000, burst=5000)


def kubeconfig_through(kubeconfig: Path, url: str, folder: Path) -> Path:
    """The same cluster by another way: a copy of that kubeconfig which goes to `url`."""
    config = yaml.safe_load(kubeconfig.read_text())
    for each in config["clusters"]:
        each["cluster"] = {"server": url}
    written = folder / "kubeconfig-through"
    written.write_text(yaml.safe_dump(config))
    return written


def open_many(owners: Sequence[User], number: int) -> list[int]:
    """Approved, all at once; nobody's work has begun."""
    return [
        services.open_sandbox(
            owner=owner, profile="python", lease=_LEASE, data_class="public", tools=["rich"], by=None
        ).pk
        for owner in itertools.islice(itertools.cycle(owners), number)
    ]


def steps_taken() -> int:
    """By all workers up to now, tries that failed or had to wait included."""
    return Step.objects.aggregate(taken=Sum("tries"))["taken"] or 0


class Ends:
    """Ends each in its own way: when it is ready by its owner or by its lease; a tenth before that, by the owner."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.before_ready = {number for number in ids if number % 10 == 3}
        self._asked: set[int] = set()

    def go_on(self) -> None:
        phases = (Phase.PROVISIONING, Phase.PROBING, Phase.READY)
        for sandbox in Sandbox.objects.filter(phase__in=phases).only("pk", "phase", "owner"):
            wanted = sandbox.phase == Phase.READY or sandbox.pk in self.before_ready
            if wanted and sandbox.pk not in self._asked:
                self._asked.add(sandbox.pk)
                self._end(sandbox)

    @staticmethod
    def _end(sandbox: Sandbox) -> None:
        if sandbox.pk % 2:
            with contextlib.suppress(ConflictError):  # something was faster
                services.end(sandbox.pk, by=sandbox.owner)
        else:
            Sandbox.objects.filter(pk=sandbox.pk).update(expires_at=clock.now())


def live_until_over(
    ids: Sequence[int],
    ends: Ends,
    *,
    each: int,
    seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Until there is a receipt for every one. Nobody ever has more than `each`."""
    deadline, look_at = time.monotonic() + seconds, 0.0
    left = Sandbox.objects.exclude(phase__in=OVER)
    while True:
        meanwhile()
        if time.monotonic() > look_at:
            charged = Counter(Sandbox.objects.filter(charged=True).values_list("owner", flat=True))
            assert max(charged.values(), default=0) <= each
            ends.go_on()
            if not left.exists():
                break
            assert time.monotonic() < deadline, list(left.values("pk", "phase", "attempts", "last_error"))
            look_at = time.monotonic() + 0.5
        time.sleep(0.1)
    assert Sandbox.objects.filter(pk__in=ids).count() == len(ids)


# ---- how it has to end


def check_the_end(ids: Sequence[int], ends: Ends, cluster: Cluster, *, failed: Collection[int] = ()) -> None:
    """Rows, receipts, ledger, quota and cluster all say the same. `failed`: those that had to, and no others."""
    found = list(Sandbox.objects.filter(pk__in=ids).select_related("receipt").prefetch_related("probes"))
    failures = {row.pk: row.failure for row in found if row.phase == Phase.FAILED}
    assert failures.keys() == set(failed), failures
    told = _told_of(ids)
    for row in found:
        _check_row(row, told[row.pk], ends, failed=row.pk in failed)
    assert verify().ok
    _check_nothing_is_left(cluster)
    _check_nobody_is_worried()


def _told_of(ids: Sequence[int]) -> dict[int, list[str]]:
    """The ledger's word on each, in order."""
    told: dict[int, list[str]] = defaultdict(list)
    subjects = [f"sandbox:{number}" for number in ids]
    for subject, action in (
        Entry.objects.filter(subject__in=subjects).order_by("id").values_list("subject", "action")
    ):
        told[int(subject.partition(":")[2])].append(action.removeprefix("sandbox."))
    return told


def _check_row(row: Sandbox, told: list[str], ends: Ends, *, failed: bool) -> None:
    opened = row.ready_at is not None
    assert opened or failed or row.pk in ends.before_ready
    assert opened != failed or row.pk in ends.before_ready
    _check_story(told, opened=opened, last="failed" if failed else "ended")
    passed = [probe.passed for probe in row.probes.all()]
    assert passed.count(True) == told.count("probe_passed") <= 1
    assert len(passed) - passed.count(True) <= 2  # those that proved nothing were made again
    assert (row.charged, row.index_token_digest, row.next_check_at) == (False, "", None)
    receipt = row.receipt
    assert receipts.verify(receipt.document, receipt.key_id, receipt.signature).ok
    assert receipts.in_ledger(receipt.document) is not None
    assert receipt.document["namespace_uid"] == (row.namespace_uid or None)
    if row.namespace_uid:
        assert receipt.document["leftovers"] == []
        assert receipt.document["absent_at"]
    assert all(one["absent_at"] for one in receipt.document["existed"])


def _check_story(told: list[str], *, opened: bool, last: str) -> None:
    """Every phase once, in order, and never one back; opened behind a proof. A queued one began as that."""
    *way, first, second = (action for action in told if action in (*_WAY, "ending", last))
    assert [first, second] == ["ending", last], told
    assert way == list(_WAY if opened else _WAY[: len(way)]), told
    assert opened == ("ready" in way), told
    if opened:
        assert told.index("probing") < told.index("probe_passed") < told.index("ready"), told
    assert not {"isolated", "stuck", "hibernated", "probe_failed", "seal_changed", "repaired"} & {*told}, told


def _check_nothing_is_left(cluster: Cluster) -> None:
    canary = canary_namespace(settings.INSTALLATION_ID)
    assert {each.name for each in cluster.namespaces(settings.INSTALLATION_ID)} <= {canary}
    assert list(cluster.volumes(settings.INSTALLATION_ID)) == []
    assert not Sandbox.objects.filter(charged=True).exists()


def _check_nobody_is_worried() -> None:
    """Nothing was ever taken for an orphan, deletions never stopped, and no alarm is left."""
    assert not Orphan.objects.exists()
    assert not Entry.objects.filter(action__startswith="engine.").exists()
    assert not EngineState.objects.filter(deletions_stopped=True).exists()
    assert not RegisteredCluster.objects.exclude(trusted=True, strange_uid="").exists()
    assert list(Alarm.objects.filter(cleared_at=None).values_list("kind", "message")) == []
