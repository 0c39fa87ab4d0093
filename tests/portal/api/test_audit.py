"""/audit: the ledger by number, and its verification."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection

from portal.accounts.models import User
from sandboxes.audit.chain import GENESIS, Link, mac
from sandboxes.audit.models import Entry
from tests.portal.api.conftest import Caller


def test_the_ledger_by_pages(alice: User, omar: User, asked: dict[str, Any]) -> None:
    auditor = Caller(omar)
    Caller(alice).post("/requests", asked)
    entries = list(Entry.objects.order_by("id"))
    assert len(entries) > 3
    seen: list[dict[str, Any]] = []
    response = auditor.get("/audit", after="", limit=2)
    while True:
        seen += response.json()
        if "Link" not in response:
            break
        response = auditor.get(response["Link"].partition(">")[0].removeprefix("<http://testserver/api/v1"))
    assert [row["id"] for row in seen] == [entry.pk for entry in entries]
    assert auditor.get("/audit", after=entries[-2].pk).json() == seen[-1:]


def test_an_auditor_can_compute_the_chain_from_the_answers(
    alice: User, omar: User, asked: dict[str, Any]
) -> None:
    Caller(alice).post("/requests", asked)
    previous = GENESIS
    for row in Caller(omar).get("/audit", limit=200).json():
        fields = {name: row[name] for name in Link.__dataclass_fields__}
        link = Link(**{**fields, "at": datetime.fromisoformat(row["at"])})
        assert row["previous"] == previous
        assert row["mac"] == mac(link, settings.LEDGER_KEY)
        previous = row["mac"]


def test_verify(alice: User, omar: User, asked: dict[str, Any]) -> None:
    auditor = Caller(omar)
    Caller(alice).post("/requests", asked)
    count = Entry.objects.count()
    assert auditor.get("/audit/verify").json() == {
        "ok": True,
        "entries": count,
        "first_broken": None,
        "reason": "",
    }
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_entry DISABLE TRIGGER ALL")
        cursor.execute("UPDATE audit_entry SET actor = 'mallory' WHERE id = 2")
        cursor.execute("ALTER TABLE audit_entry ENABLE TRIGGER ALL")
    broken = auditor.get("/audit/verify").json()
    assert (broken["ok"], broken["first_broken"]) == (False, 2)
    assert broken["reason"]
