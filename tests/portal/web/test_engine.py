"""The engine's page: pausing, letting deletions go on, and what belongs to nobody."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.lifecycle import switch
from sandboxes.lifecycle.models import Alarm
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def test_pausing_and_resuming(client_of: ClientOf, ada: User, alice: User) -> None:
    world.ready(alice)
    browser = client_of(ada)
    page = browser.get("/operate").content.decode()
    assert "Running" in page
    assert "<dd>1</dd>" in page  # one that is ready
    assert browser.post("/operate/act", {"action": "pause", "reason": " "}).status_code == 422
    assert not switch.paused()
    assert browser.post("/operate/act", {"action": "pause", "reason": "<b>upgrade</b>"}).status_code == 302
    assert switch.paused()
    page = browser.get("/operate").content.decode()
    assert "&lt;b&gt;upgrade" in page
    assert browser.post("/operate/act", {"action": "resume"}).status_code == 302
    assert not switch.paused()
    assert Entry.objects.filter(subject="engine").count() == 2


def test_deletions_go_on_only_with_a_reason(client_of: ClientOf, ada: User) -> None:
    switch.stop_deletions("7 of 20 sandboxes ended early")
    browser = client_of(ada)
    assert "7 of 20 sandboxes ended early" in browser.get("/operate").content.decode()
    assert browser.post("/operate/act", {"action": "allow", "reason": ""}).status_code == 422
    assert not switch.may_delete()
    assert browser.post("/operate/act", {"action": "allow", "reason": "a drill"}).status_code == 302
    assert switch.may_delete()
    assert not Alarm.objects.filter(kind="deletions_stopped", cleared_at=None).exists()
    assert browser.post("/operate/act", {"action": "allow", "reason": "again"}).status_code == 422
    assert browser.post("/operate/act", {"action": "explode", "reason": "x"}).status_code == 404


def test_orphans_are_kept_or_deleted_by_a_person(client_of: ClientOf, ada: User, iris: User) -> None:
    one = world.orphan()
    browser = client_of(ada)
    assert "Namespace/sbx-nobody" in browser.get("/operate").content.decode()
    assert client_of(iris).post(f"/operate/orphans/{one.pk}/keep").status_code == 403
    assert browser.post(f"/operate/orphans/{one.pk}/keep").status_code == 302
    one.refresh_from_db()
    assert one.kept_by == ada
    assert browser.post(f"/operate/orphans/{one.pk}/delete").status_code == 302
    assert browser.post(f"/operate/orphans/{one.pk}/burn").status_code == 404
    assert browser.post("/operate/orphans/99999/keep").status_code == 404
