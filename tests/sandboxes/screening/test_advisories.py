"""Declaring an advisory of our own, and putting one of somebody else's here by hand."""

from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError
from sandboxes.screening import advisories
from sandboxes.screening.models import Advisory, Affected
from tests.sandboxes.screening.documents import affected, document

pytestmark = pytest.mark.django_db


def ours(**more: Any) -> dict[str, Any]:
    return {"summary": "We think this is bad", "affected": [affected("demo", versions=["1.0"])]} | more


def test_one_of_our_own_gets_a_number_of_the_year(ada: User) -> None:
    year = timezone.now().year
    first, second = advisories.put(ours(), by=ada), advisories.put(ours(), by=ada)
    assert [first.id, second.id] == [f"PETRI-{year}-1", f"PETRI-{year}-2"]
    assert first.document["published"].endswith("Z")
    assert Affected.objects.filter(advisory=first, project="demo", versions=["1"]).exists()


def test_the_ledger_names_who_and_what(ada: User) -> None:
    told = ours(database_specific={"malicious": True})
    advisory = advisories.put(told, by=ada)
    entry = Entry.objects.get(action="advisory.declared")
    assert (entry.actor, entry.subject) == ("ada", f"advisory:{advisory.id}")
    assert entry.data["malicious"] is True
    assert entry.data["affected"] == ["pypi:demo"]
    assert advisory.malicious


def test_changing_and_withdrawing(ada: User) -> None:
    advisory = advisories.put(ours(), by=ada)
    advisories.put(ours(id=advisory.id, affected=[affected("other", versions=["2"])]), by=ada)
    assert Affected.objects.get().project == "other"
    advisories.put(ours(id=advisory.id, withdrawn=timezone.now().isoformat()), by=ada)
    advisory.refresh_from_db()
    assert advisory.withdrawn_at is not None
    actions = Entry.objects.filter(subject=f"advisory:{advisory.id}").order_by("id")
    assert [entry.action for entry in actions] == [
        "advisory.declared",
        "advisory.changed",
        "advisory.withdrawn",
    ]


def test_somebody_elses_has_to_be_newer(ada: User) -> None:
    advisories.put(document("GHSA-1"), by=ada)
    with pytest.raises(ConflictError, match="here already"):
        advisories.put(document("GHSA-1"), by=ada)
    newer = advisories.put(document("GHSA-1", modified="2026-06-01T00:00:00Z", summary="more"), by=ada)
    assert newer.summary == "more"


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("nothing", {}, "names no version"),
    ("no project", {"affected": []}, "names no version"),
    ("no version", {"affected": [affected("demo")]}, "names no version"),
    (
        "a range that is none",
        {"affected": [affected("demo", [("introduced", "0"), ("fixed", "soon")])]},
        "'soon'",
    ),
    ("no list", {"affected": "demo"}, "no advisory"),
    ("a strange id", document("a b"), "no id"),
    ("an id that is none", {"id": 5}, "no id"),
]


@pytest.mark.parametrize(("told", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_could_affect_nothing_or_cannot_be_read_is_refused(
    told: dict[str, Any], why: str, ada: User
) -> None:
    with pytest.raises(InvalidInputError, match=why):
        advisories.put(told, by=ada)
    assert not Advisory.objects.exists()
    assert not Entry.objects.filter(action__startswith="advisory").exists()


def test_nobody_makes_up_a_number_of_ours(ada: User) -> None:
    with pytest.raises(NotFoundError):
        advisories.put(ours(id="PETRI-2026-99"), by=ada)


def test_malware_of_ours_without_versions_is_the_whole_project(ada: User) -> None:
    advisories.put(ours(affected=[affected("demo")], database_specific={"malicious": True}), by=ada)
    assert Affected.objects.get().ranges == [[["introduced", "0"]]]
