"""What pages say of a sandbox's time, phase by phase."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.web.leases import Left, left
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
END = NOW + timedelta(hours=3)


def _opened(phase: Phase, **more: datetime) -> Sandbox:
    return Sandbox(
        phase=phase,
        lease=timedelta(hours=4),
        ready_at=NOW - timedelta(hours=1),
        **{"expires_at": END, **more},
    )


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.QUEUED, "once there is room"),
        (Phase.PENDING, "once it is ready"),
        (Phase.PROVISIONING, "once it is ready"),
        (Phase.PROBING, "once it is ready"),
    ],
)
def test_before_it_opened(phase: Phase, said: str) -> None:
    assert left(Sandbox(phase=phase, lease=timedelta(hours=4)), NOW) == Left(None, "4 hours", said)


@pytest.mark.parametrize("phase", [Phase.READY, Phase.HIBERNATED, Phase.ISOLATED, Phase.PROBING])
def test_while_its_lease_runs(phase: Phase) -> None:
    assert left(_opened(phase), NOW) == Left(END, "", "left of 4 hours")


@pytest.mark.parametrize("phase", [Phase.ENDING, Phase.STUCK, Phase.ENDED, Phase.FAILED])
def test_nothing_is_left_of_what_goes(phase: Phase) -> None:
    assert left(_opened(phase), NOW) is None


def test_a_hold_beyond_the_lease_counts() -> None:
    later = END + timedelta(days=2)
    assert left(_opened(Phase.READY, hold_until=later), NOW) == Left(later, "", "left, by a legal hold")
    assert left(_opened(Phase.READY, hold_until=END - timedelta(hours=1)), NOW) == Left(
        END, "", "left of 4 hours"
    )


def test_a_lease_that_is_over() -> None:
    assert left(_opened(Phase.READY, expires_at=NOW), NOW) == Left(None, "Over", "it ends now")
