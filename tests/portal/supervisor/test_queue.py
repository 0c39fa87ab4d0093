"""Worker and beat agree on what there is to do."""

from typing import Any

from portal.celery import app
from sandboxes.lifecycle import hints, room


def schedule() -> dict[str, Any]:
    entries: dict[str, Any] = app.conf.beat_schedule
    return entries


def test_every_message_of_beat_has_a_task() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in schedule().values()} <= set(app.tasks)
    assert {hints.RECONCILE, room.ADMIT} <= set(app.tasks)


def test_a_look_that_nobody_took_is_not_taken_long_after() -> None:
    for entry in schedule().values():
        assert entry["options"]["expires"] <= max(6.0, entry["schedule"])
