"""Alarms: who sees them, who clears them, and that the same trouble is one alarm."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.lifecycle.alarms import alarm, clear
from sandboxes.lifecycle.models import Alarm

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def test_who_sees_and_who_clears(client_of: ClientOf, alice: User, iris: User, omar: User, ada: User) -> None:
    alarm("stuck", "sandbox:7", "<b>NamespaceFinalizersRemaining</b>: example.com/never")
    one = Alarm.objects.get()
    assert client_of(alice).get("/alarms").status_code == 403
    for who in (iris, omar, ada):
        page = client_of(who).get("/alarms").content.decode()
        assert "A teardown is stuck" in page
        assert "&lt;b&gt;NamespaceFinalizersRemaining" in page
        assert ("Clear" in page) == (who == ada)
    assert client_of(iris).post(f"/alarms/{one.pk}/clear").status_code == 403
    assert client_of(ada).post(f"/alarms/{one.pk}/clear").status_code == 302
    one.refresh_from_db()
    assert one.cleared_by == ada
    assert "No alarm is open" in client_of(ada).get("/alarms").content.decode()
    assert client_of(ada).post("/alarms/999999/clear").status_code == 404


def test_the_same_trouble_is_one_alarm_until_it_is_cleared() -> None:
    for number in range(3):
        alarm("cluster_down", "cluster:rig", f"no answer, try {number}")
    one = Alarm.objects.get()
    assert (one.count, one.message) == (3, "no answer, try 2")
    assert Entry.objects.filter(action="alarm.raised").count() == 1
    assert clear("cluster_down", "cluster:rig", by=None)
    assert not clear("cluster_down", "cluster:rig", by=None)
    assert Entry.objects.filter(action="alarm.cleared", subject="cluster:rig").count() == 1
    alarm("cluster_down", "cluster:rig", "again")
    assert Alarm.objects.filter(cleared_at=None).count() == 1
    assert Alarm.objects.count() == 2


def test_the_navigation_counts_the_open_ones(client_of: ClientOf, ada: User, alice: User) -> None:
    alarm("orphan", "cluster:rig", "Namespace/sbx-x")
    alarm("stuck", "sandbox:7", "a finalizer")
    link = '<a href="/alarms">Alarms <span class="count">2'
    assert link in client_of(ada).get("/").content.decode()
    assert "/alarms" not in client_of(alice).get("/").content.decode()


def test_nothing_is_sent_while_nothing_changes(client_of: ClientOf, ada: User) -> None:
    alarm("orphan", "cluster:rig", "Namespace/sbx-x")
    browser = client_of(ada)
    page = browser.get("/alarms").content.decode()
    version = page.partition("/alarms?v=")[2][:16]
    ask = {"HX-Request": "true"}
    assert browser.get(f"/alarms?v={version}", headers=ask).status_code == 204
    alarm("orphan", "cluster:rig", "Namespace/sbx-y")
    assert browser.get(f"/alarms?v={version}", headers=ask).status_code == 200
