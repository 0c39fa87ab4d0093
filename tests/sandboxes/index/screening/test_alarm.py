"""Whoever waits too long for screening is an alarm, raised by who does not screen."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from portal import celery
from sandboxes.index import tasks
from sandboxes.lifecycle.models import Alarm
from sandboxes.screening import queries, rules
from sandboxes.screening.models import Job, Rules

pytestmark = pytest.mark.django_db


def _job(sha256: str, *, age: timedelta, urgent: bool = True) -> None:
    Job.objects.create(sha256=sha256 * 64, filename="demo.whl", urgent=urgent, wanted_at=Now() - age)


def test_a_file_that_waits_too_long_is_told_until_it_is_screened() -> None:
    _job("a", age=timedelta(seconds=90))
    _job("b", age=timedelta(seconds=5))
    tasks.watch_screening()
    alarm = Alarm.objects.get()
    assert (alarm.kind, alarm.message.startswith("2 files ")) == (tasks.LATE, True)
    Job.objects.filter(sha256="a" * 64).delete()
    tasks.watch_screening()
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None


def test_what_is_screened_again_may_wait() -> None:
    _job("a", age=timedelta(hours=1), urgent=False)
    tasks.watch_screening()
    assert not Alarm.objects.exists()
    assert (queries.waiting_since(), queries.waiting()) == (None, 0)


def test_beat_sends_the_task_by_its_name() -> None:
    names = {entry["task"] for entry in celery.app.conf.beat_schedule.values()}
    assert tasks.watch_screening.name in names


def test_an_admins_pattern_that_is_left_out_is_told_until_it_is_mended() -> None:
    problem = {"file": "acme.yar", "line": 7, "message": "error[E025]: unknown pattern `$b`"}
    row = Rules.objects.create(
        place="one:/rules", digest="a", changed_at=Now(), seen_at=Now(), ours=3, added=1, problems=[problem]
    )
    tasks.watch_screening()
    alarm = Alarm.objects.get()
    assert (alarm.kind, "acme.yar, line 7: error[E025]" in alarm.message) == (rules.ALARM, True)
    Rules.objects.update(problems=[])
    tasks.watch_screening()
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None
    row.problems = [problem]
    row.seen_at = Now() - timedelta(minutes=11)
    row.save()
    tasks.watch_screening()
    assert not Alarm.objects.filter(cleared_at=None).exists()  # nobody screens there any more
