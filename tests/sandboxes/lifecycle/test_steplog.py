"""The step log: one line for one step, however often it is tried."""

from datetime import timedelta

import pytest

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox, Step
from sandboxes.lifecycle.steplog import step

pytestmark = pytest.mark.django_db


@pytest.fixture
def row(alice: User) -> Sandbox:

    return Sandbox.objects.create(
        cluster="simulated", owner=alice, profile="python", lease=timedelta(hours=1), data_class="public"
    )


def test_done_at_once(row: Sandbox) -> None:
    with step(row, "policies"):
        pass
    one = Step.objects.get()
    assert (one.name, one.tries, one.error) == ("policies", 1, "")
    assert one.ended_at is not None
    assert one.started_at <= one.ended_at


def test_waiting_and_failing_count_on_in_one_line(row: Sandbox) -> None:
    with step(row, "quota") as attempt:
        attempt.wait()
    with pytest.raises(ValueError, match="503"), step(row, "quota"):
        raise ValueError("503 busy")
    one = Step.objects.get()
    assert (one.tries, one.error, one.ended_at) == (2, "503 busy", None)
    with step(row, "quota"):
        pass
    one.refresh_from_db()
    assert (one.tries, one.error) == (3, "")
    assert one.ended_at is not None


def test_the_same_step_later_is_another_line(row: Sandbox) -> None:
    for _ in range(2):
        with step(row, "seal test"):
            pass
    assert Step.objects.count() == 2
