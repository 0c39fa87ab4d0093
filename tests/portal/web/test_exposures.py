"""The pages about who is exposed, the reactions, and what a sandbox's page says and gives."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.reports import exposure
from sandboxes.audit.models import Entry
from sandboxes.lifecycle import isolation, receipts, signing
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import exposures, reactions
from sandboxes.screening.exposure import Action, Kind
from sandboxes.screening.models import Exposure
from tests.portal.web import world
from tests.sandboxes.screening.exposing import BAD, malicious, vulnerable

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def text_of(answer: Any) -> str:
    text: str = answer.content.decode()
    return text


def bytes_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


@pytest.fixture
def sandbox(alice: User) -> Sandbox:
    made = world.ready(alice)
    world.install(made, "demo")
    world.install(made, "=cmd")
    return made


@pytest.fixture
def isolated(sandbox: Sandbox, ada: User) -> Sandbox:
    malicious(ada, summary="It reads keys")
    exposures.expose()
    sandbox.refresh_from_db()
    return sandbox


def test_the_list_has_what_is_open(client_of: ClientOf, iris: User, isolated: Sandbox) -> None:
    browser = client_of(iris)
    shown = text_of(browser.get("/exposures"))
    assert f'href="/exposures/of/{BAD}"' in shown
    assert f'href="/sandboxes/{isolated.pk}"' in shown
    assert "Isolated" in shown
    assert "demo 1.0" in shown
    assert "Research" in shown
    assert "Nobody is exposed" in text_of(browser.get("/exposures?show=past"))
    assert "Nothing was closed" in text_of(browser.get("/exposures?show=closed"))
    part = browser.get("/exposures?show=live", headers={"HX-Request": "true"})
    assert text_of(part).strip().startswith('<div id="results"')


def test_the_page_of_an_advisory_tells_what_happened_in_order(
    client_of: ClientOf, iris: User, ada: User, isolated: Sandbox
) -> None:
    malicious(ada, month=5, summary="It reads keys", withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    shown = text_of(client_of(iris).get(f"/exposures/of/{BAD}?show=all"))
    told = [
        "The advisory was published",
        "The advisory was withdrawn",
        "First received: 1 file in all",
        "Exposures were found: 1 sandbox",
        "Live sandboxes were isolated: 1 sandbox",
        "Exposures were closed: 1 sandbox",
    ]
    places = [shown.find(one) for one in told]
    assert -1 not in places
    assert places == sorted(places)
    assert f"{BAD} was withdrawn on 2026-05-01." in shown
    assert client_of(iris).get("/exposures/of/MAL-none").status_code == 404


def test_the_page_tells_how_many_and_that_the_past_is_still_looked_through(
    client_of: ClientOf, iris: User, ada: User, isolated: Sandbox
) -> None:
    shown = " ".join(text_of(client_of(iris).get(f"/exposures/of/{BAD}")).split())
    assert "1 sandbox received 1 file of it: <strong>1 live</strong>, 0 past, 0 closed." in shown
    assert "still being looked through" not in shown
    malicious(ada, month=4, summary="Other words")
    assert "still being looked through" in text_of(client_of(iris).get(f"/exposures/of/{BAD}"))


def test_the_csv_is_read_page_by_page(
    client_of: ClientOf, iris: User, ada: User, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sandbox once, however the pages fall: the last is full here, and the one after it empty."""
    monkeypatch.setattr(exposure, "_BATCH", 2)
    made = [world.ready(owner) for owner in (alice, alice, bob, bob)]
    for one in made:
        world.install(one, "demo")
    malicious(ada)
    exposures.expose()
    data = bytes_of(client_of(iris).get(f"/exposures.csv?advisory={BAD}&show=open")).decode()
    rows = [int(row["sandbox"]) for row in csv.DictReader(io.StringIO(data))]
    assert rows == sorted((one.pk for one in made), reverse=True)


def test_the_table_as_csv_begins_no_formula(client_of: ClientOf, omar: User, ada: User, alice: User) -> None:
    made = world.ready(alice)
    world.install(made, "demo")
    made.installs.update(filename="=cmd.whl")
    malicious(ada)
    exposures.expose()
    answer = client_of(omar).get(f"/exposures.csv?advisory={BAD}&show=open")
    assert answer["Content-Disposition"] == f'attachment; filename="exposures-{BAD}.csv"'
    rows = list(csv.DictReader(io.StringIO(bytes_of(answer).decode())))
    assert [(row["person"], row["version"], row["filename"]) for row in rows] == [
        ("alice", "1.0", "'=cmd.whl")
    ]
    assert rows[0]["sha256"] == made.installs.get().sha256
    empty = bytes_of(client_of(omar).get(f"/exposures.csv?advisory={BAD}&show=closed")).decode()
    assert len(empty.splitlines()) == 1


def test_the_owner_sees_it_on_the_sandboxs_page(client_of: ClientOf, alice: User, ada: User) -> None:
    made = world.ready(alice)
    world.install(made, "demo")
    vulnerable(ada, "HIGH")
    before = text_of(client_of(alice).get(f"/sandboxes/{made.pk}"))
    assert "speaks against" not in before
    exposures.expose()
    shown = text_of(client_of(alice).get(f"/sandboxes/{made.pk}"))
    assert "An advisory speaks against what it received" in shown
    assert "GHSA-1" in shown
    assert "/exposures/of/" not in shown  # everybody's is not hers to see
    assert f"sandboxes/{made.pk}/sbom.json" in shown
    assert "evidence.zip" not in shown


def test_lifting_is_offered_to_approvers(
    client_of: ClientOf, alice: User, iris: User, ada: User, isolated: Sandbox
) -> None:
    offer = "What it was isolated for does not hold any more"
    assert offer not in text_of(client_of(iris).get(f"/sandboxes/{isolated.pk}"))
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    shown = text_of(client_of(iris).get(f"/sandboxes/{isolated.pk}"))
    assert offer in shown
    assert 'href="#release"' in shown
    assert f'action="/sandboxes/{isolated.pk}/release"' in shown
    hers = text_of(client_of(alice).get(f"/sandboxes/{isolated.pk}"))
    assert offer in hers
    assert 'href="#release"' not in hers
    released = client_of(iris).post(f"/sandboxes/{isolated.pk}/release", {"reason": "Withdrawn"})
    assert released.status_code == 302
    assert offer not in text_of(client_of(iris).get(f"/sandboxes/{isolated.pk}"))


def test_changing_a_reaction(client_of: ClientOf, ada: User) -> None:
    browser = client_of(ada)
    form = {"critical": "isolate", "malicious": "isolate", "reason": "Strict"}
    assert browser.post("/exposures/reactions/change", form).status_code == 302
    assert reactions.all_of()[Kind.CRITICAL] is Action.ISOLATE
    assert Entry.objects.get(action="reactions.changed").data["reason"] == "Strict"
    page = text_of(browser.get("/exposures/reactions"))
    assert page.count('value="isolate" selected') == 2


@pytest.mark.parametrize(
    ("form", "said"),
    [({"low": "end", "reason": " "}, "Say why"), ({"low": "burn", "reason": "x"}, "Choose what is done")],
)
def test_what_is_no_reaction(client_of: ClientOf, ada: User, form: dict[str, str], said: str) -> None:
    answer = client_of(ada).post("/exposures/reactions/change", form)
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert reactions.all_of()[Kind.LOW] is Action.NOTIFY


def taken(answer: Any) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bytes_of(answer))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_evidence_is_whole_and_signed(client_of: ClientOf, iris: User, isolated: Sandbox) -> None:
    answer = client_of(iris).get(f"/sandboxes/{isolated.pk}/evidence.zip")
    assert answer["Content-Type"] == "application/zip"
    found = taken(answer)
    signed = json.loads(found.pop("manifest.json"))
    listed = {one["name"]: one["sha256"] for one in signed["manifest"]["files"]}
    assert listed == {name: sha256(data).hexdigest() for name, data in found.items()}
    signature = signed["signature"]
    assert receipts.verify(signed["manifest"], signature["key_id"], signature["value"]).ok
    tampered = signed["manifest"] | {"sandbox": 0}
    assert not signing.verify(
        signing.Signed(tampered, signature["key_id"], signature["value"]), receipts.key()
    ).ok
    entry = Entry.objects.get(action="sandbox.evidence_taken")
    assert (entry.actor, entry.subject) == ("iris", f"sandbox:{isolated.pk}")
    assert signed["manifest"]["ledger"] == {"entry": entry.pk, "mac": entry.mac}


def test_evidence_holds_what_is_kept(client_of: ClientOf, omar: User, isolated: Sandbox) -> None:
    found = {
        name: data.decode()
        for name, data in taken(client_of(omar).get(f"/sandboxes/{isolated.pk}/evidence.zip")).items()
    }
    installs = json.loads(found["installs.json"])
    assert [row["project"] for row in installs] == ["demo", "=cmd"]
    assert [row["project"] for row in csv.DictReader(io.StringIO(found["installs.csv"]))] == ["demo", "'=cmd"]
    assert [row["advisory"] for row in json.loads(found["exposures.json"])] == [BAD]
    assert json.loads(found["seal.json"])[0]["passed"] is True
    (policy,) = json.loads(found["policy.json"])["isolations"]
    assert {"settings", "lists", "waivers"} < set(policy)
    assert "sandbox.isolated" in [entry["action"] for entry in json.loads(found["ledger.json"])]
    assert json.loads(found["sandbox.json"])["isolation_reason"].startswith(BAD)
    assert json.loads(found["receipt.json"]) is None
    assert json.loads(found["fetches.json"]) == json.loads(found["connections.json"]) == []
    assert "index_token" not in found["sandbox.json"]


def test_evidence_is_not_for_everybody(
    client_of: ClientOf, alice: User, iris: User, igor: User, ada: User, sandbox: Sandbox
) -> None:
    path = f"/sandboxes/{sandbox.pk}/evidence.zip"
    assert "never isolated" in text_of(client_of(iris).get(path))
    isolation.isolate(sandbox.pk, by=ada, reason="Odd")
    assert client_of(alice).get(path).status_code == 403
    his = world.ready(iris)
    isolation.isolate(his.pk, by=ada, reason="Odd")
    assert client_of(iris).get(f"/sandboxes/{his.pk}/evidence.zip").status_code == 403
    assert client_of(igor).get(f"/sandboxes/{his.pk}/evidence.zip").status_code == 200
    assert Entry.objects.filter(action="sandbox.evidence_taken").count() == 1


def test_evidence_of_one_that_is_over_has_the_receipt(
    client_of: ClientOf, iris: User, isolated: Sandbox
) -> None:
    world.over(isolated)
    found = taken(client_of(iris).get(f"/sandboxes/{isolated.pk}/evidence.zip"))
    assert json.loads(found["receipt.json"])["receipt"]["reason"] == "expired"


def test_the_bill_of_materials_is_the_owners_too(
    client_of: ClientOf, alice: User, bob: User, isolated: Sandbox
) -> None:
    answer = client_of(alice).get(f"/sandboxes/{isolated.pk}/sbom.json")
    assert {one["name"] for one in answer.json()["components"]} == {"demo", "=cmd"}
    assert client_of(bob).get(f"/sandboxes/{isolated.pk}/sbom.json").status_code == 404


def test_a_failed_reaction_is_shown(client_of: ClientOf, iris: User, isolated: Sandbox) -> None:
    Exposure.objects.update(acted_at=None, error="the disk is full")
    assert "Failed, tried again: the disk is full" in text_of(client_of(iris).get("/exposures"))


def test_the_alarm_leads_to_who_is_exposed(client_of: ClientOf, iris: User, isolated: Sandbox) -> None:
    assert f'<a href="/exposures/of/{BAD}">{BAD}</a>' in text_of(client_of(iris).get("/alarms"))
