"""Leases end on time, whatever a cluster does; a hold puts the end off, an extension granted in time wins."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import clock, engine, expiry, services
from sandboxes.lifecycle.models import Probe, RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.timing import warn_at
from tests.sandboxes.lifecycle.rows import HOUR, ready
from tests.sandboxes.lifecycle.test_journey import actions, reconcile_until

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def over(owner: User, **changes: Any) -> Sandbox:
    return ready(owner, **({"expires_at": clock.now() - SECOND} | changes))


@pytest.mark.parametrize("phase", [Phase.READY, Phase.HIBERNATED, Phase.ISOLATED, Phase.PROBING])
def test_the_token_stops_with_the_lease_though_the_cluster_is_down(alice: User, phase: Phase) -> None:
    RegisteredCluster.objects.create(name="down", failures=9, open_until=clock.now() + HOUR)
    sandbox = over(alice, phase=phase, cluster="down")
    assert expiry.run() == 1
    sandbox.refresh_from_db()
    assert (sandbox.phase, sandbox.end_reason) == (Phase.ENDING, "expired")
    assert sandbox.index_token_digest == ""
    assert sandbox.revoked_at is not None
    assert sandbox.early_end_at is None  # its time had come
    assert expiry.run() == 0


def test_what_has_no_lease_yet_does_not_end(alice: User) -> None:
    ready(alice, phase=Phase.PROBING, ready_at=None, expires_at=None)
    ready(alice)
    assert expiry.run() == 0


def test_a_legal_hold_puts_the_end_off(alice: User) -> None:
    sandbox = over(alice, hold_until=clock.now() + HOUR)
    assert expiry.run() == 0
    engine.sweep()
    Sandbox.objects.update(hold_until=clock.now())
    assert expiry.run() == 1
    sandbox.refresh_from_db()
    assert sandbox.end_reason == "expired"


def test_an_extension_granted_at_the_last_moment_is_kept(alice: User) -> None:
    sandbox = over(alice)  # the worker has read it …
    services.extend(sandbox_id=sandbox.pk, add=HOUR, by=alice)  # … and only then it is granted
    assert not expiry.end(sandbox)
    sandbox.refresh_from_db()
    assert sandbox.phase == Phase.READY


def test_a_lease_is_for_ten_years_at_most(alice: User) -> None:
    """Whatever its profile says, or if it is gone: beyond the year 9999 no row can be read."""
    sandbox = ready(alice, profile="abacus", lease=HOUR)
    for add in (services.LONGEST, timedelta(days=365 * 9000), timedelta.max):
        with pytest.raises(InvalidInputError, match="ten years"):
            services.extend(sandbox_id=sandbox.pk, add=add, by=alice)
    services.extend(sandbox_id=sandbox.pk, add=services.LONGEST - HOUR, by=alice)
    sandbox.refresh_from_db()
    assert sandbox.lease == services.LONGEST


def test_many_at_once(alice: User) -> None:
    """More than one batch: every token has stopped when the pass is over."""
    for _ in range(expiry._BATCH + 5):
        over(alice)
    assert expiry.run() == expiry._BATCH + 5


class TestWarning:
    def test_once_a_tenth_before_the_end(self, alice: User) -> None:
        lease = 2 * HOUR
        early = ready(alice, lease=lease, expires_at=clock.now() + lease / 10 + 5 * SECOND)
        soon = ready(alice, lease=lease, expires_at=clock.now() + lease / 10 - 5 * SECOND)
        expiry.run()
        expiry.run()
        assert actions(early) == []
        assert actions(soon) == ["expiry_warned"]
        told = Entry.objects.get(subject=f"sandbox:{soon.pk}").data["expires_at"]
        assert soon.expires_at is not None
        assert datetime.fromisoformat(told) - soon.expires_at < SECOND

    def test_a_day_before_a_long_lease_ends(self, alice: User) -> None:
        lease = timedelta(days=30)
        early = ready(alice, lease=lease, expires_at=clock.now() + timedelta(days=1, seconds=5))
        soon = ready(alice, lease=lease, expires_at=clock.now() + timedelta(days=1, seconds=-5))
        expiry.run()
        assert (actions(early), actions(soon)) == ([], ["expiry_warned"])

    @pytest.mark.parametrize(
        "lease", [timedelta(minutes=7), timedelta(days=3), timedelta(days=45, seconds=1)]
    )
    def test_the_database_counts_as_pages_do(self, alice: User, lease: timedelta) -> None:
        sandbox = ready(alice, lease=lease)
        assert sandbox.expires_at is not None
        lead = sandbox.expires_at - warn_at(sandbox.expires_at, lease)
        for nudge, warned in ((SECOND, False), (-SECOND, True)):
            Sandbox.objects.update(expires_at=clock.now() + lead + nudge)
            expiry.run()
            sandbox.refresh_from_db()
            assert (sandbox.warned_at is not None) is warned

    def test_again_after_an_extension(self, alice: User) -> None:
        sandbox = ready(alice, expires_at=clock.now() + SECOND * 60)
        expiry.run()
        services.extend(sandbox_id=sandbox.pk, add=HOUR, by=alice)
        Sandbox.objects.update(expires_at=clock.now() + SECOND * 60)
        expiry.run()
        assert actions(sandbox) == ["expiry_warned", "extended", "expiry_warned"]


def test_quiet_sandboxes_cost_a_fixed_number_of_queries(alice: User) -> None:
    owner = {"owner": alice, "profile": "python", "data_class": "public", "lease": HOUR}
    now = clock.now()
    Sandbox.objects.bulk_create(
        Sandbox(**owner, cluster="a", phase=Phase.READY, expires_at=now + 48 * HOUR, next_check_at=now + HOUR)
        for _ in range(2000)
    )
    with CaptureQueriesContext(
        connection,
    ) as captured:
        engine.sweep()
    assert len(captured) < 10


@pytest.mark.parametrize("minutes", [10, -10])
def test_a_worker_whose_clock_is_off_changes_nothing(
    sandbox: Sandbox, cluster: Cluster, alice: User, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every moment that is compared or kept is the database's."""
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(minutes=minutes))
    reconcile_until(sandbox, Phase.READY)
    assert sandbox.ready_at is not None
    assert abs(clock.now() - sandbox.ready_at) < 20 * SECOND
    assert sandbox.expires_at == sandbox.ready_at + sandbox.lease  # ten minutes
    probe = Probe.objects.filter(sandbox=sandbox).latest("id")
    assert abs(clock.now() - probe.at) < 20 * SECOND
    engine.sweep()
    sandbox.refresh_from_db()
    assert (sandbox.phase, sandbox.warned_at) == (Phase.READY, None)
    Sandbox.objects.update(expires_at=clock.now() + 3 * SECOND)
    reconcile_until(sandbox, Phase.ENDED)
    assert actions(sandbox)[-3:] == ["expiry_warned", "ending", "ended"]
    times = [sandbox.phase_at, sandbox.revoked_at, sandbox.workloads_gone_at, sandbox.ended_at]
    assert all(moment and abs(clock.now() - moment) < 20 * SECOND for moment in times)
