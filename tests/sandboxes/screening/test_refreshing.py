"""Feeds that are taken in on a schedule, and the alarm about one that falls behind."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from portal import env_screening
from sandboxes.errors import ConflictError
from sandboxes.lifecycle.models import Alarm
from sandboxes.screening import feeds, refreshing, tasks
from sandboxes.screening.models import Advisory, Feed
from tests.sandboxes.screening.documents import affected, document

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _feed(folder: Path, name: str = "feed.json", identity: str = "PYSEC-2026-1") -> str:
    path = folder / name
    path.write_text(json.dumps(document(identity, affected("demo", versions=["1"]))))
    return str(path)


def _refresh(*sources: str) -> None:
    refreshing.refresh(sources, every=HOUR, longest=DAY)


def _age(source: str, age: timedelta) -> None:
    Feed.objects.filter(pk=source).update(
        attempted_at=timezone.now() - age, succeeded_at=timezone.now() - age
    )


def test_what_is_due_is_taken_in_and_nothing_else(tmp_path: Path) -> None:
    source = _feed(tmp_path)
    _refresh(source)
    assert Advisory.objects.get().pk == "PYSEC-2026-1"
    first = Feed.objects.get().attempted_at
    _refresh(source)
    assert Feed.objects.get().attempted_at == first
    _age(source, HOUR + timedelta(minutes=1))
    _refresh(source)
    assert Feed.objects.get().attempted_at >= first


def test_one_that_fails_keeps_its_error_and_the_others_go_on(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.json")
    _refresh(absent, "http://feeds.example.com/all.zip", _feed(tmp_path))
    assert Advisory.objects.count() == 1
    errors = dict(Feed.objects.values_list("source", "error"))
    assert "cannot be read" in errors[absent]
    assert "https" in errors["http://feeds.example.com/all.zip"]
    assert errors[str(tmp_path / "feed.json")] == ""


def test_the_alarm_comes_and_goes(tmp_path: Path) -> None:
    source = _feed(tmp_path)
    _refresh(source)
    assert not Alarm.objects.exists()
    Path(source).rename(tmp_path / "away.json")
    _age(source, DAY + HOUR)
    _refresh(source)
    alarm = Alarm.objects.get(kind=refreshing.ALARM, cleared_at=None)
    assert alarm.subject == f"feed:{source}"
    assert "25 hours old" in alarm.message
    assert "cannot be read" in alarm.message
    (tmp_path / "away.json").rename(source)
    Feed.objects.update(attempted_at=timezone.now() - DAY)
    _refresh(source)
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None


def test_one_that_never_came_is_alarmed_about_until_it_is_not_wanted(tmp_path: Path) -> None:
    _refresh(str(tmp_path / "absent.json"))
    assert "never been taken in" in Alarm.objects.get(cleared_at=None).message
    _refresh()
    assert not Alarm.objects.filter(cleared_at=None).exists()


def test_nobody_is_told_about_what_was_taken_in_by_hand(tmp_path: Path) -> None:
    source = _feed(tmp_path)
    feeds.import_feed(source, by=None)
    _age(source, 10 * DAY)
    _refresh()
    assert not Alarm.objects.exists()


def test_credentials_are_neither_kept_nor_told(tmp_path: Path) -> None:
    _refresh("http://me:hush@feeds.example.com/all.zip?key=hush")
    row, alarm = Feed.objects.get(), Alarm.objects.get()
    assert "hush" not in f"{row.source} {row.error} {alarm.subject} {alarm.message}"


def test_while_another_import_runs_it_stays_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(source: str, *, by: None) -> None:
        raise ConflictError("Advisories are being imported already.")

    source = _feed(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(refreshing, "import_feed", busy)
        _refresh(source)
    assert not Feed.objects.exists()
    assert not Alarm.objects.exists()
    _refresh(source)
    assert Feed.objects.get().succeeded_at is not None


def test_an_unforeseen_error_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = feeds.import_feed

    def odd(source: str, *, by: None) -> None:
        if source == "odd":
            raise ZeroDivisionError
        real(source, by=by)

    monkeypatch.setattr(refreshing, "import_feed", odd)
    _refresh("odd", _feed(tmp_path))
    assert Advisory.objects.count() == 1
    assert Feed.objects.get(source__endswith="odd").error == "It failed: ZeroDivisionError."


def test_a_long_address_fits_an_alarm() -> None:
    one, other = (refreshing.subject(f"https://feeds.example.com/{'x' * 300}{end}") for end in "ab")
    assert len(one) == len(other) == 120
    assert one != other


def test_the_task_takes_what_is_set(tmp_path: Path, settings: object) -> None:
    environ = {"SCREENING_FEEDS": _feed(tmp_path), "SCREENING_FEED_EVERY": "2"}
    settings.SCREENING_FEEDS = env_screening.read(environ)  # type: ignore[attr-defined]
    tasks.refresh_feeds()
    assert Advisory.objects.count() == 1
