"""The ledger's page: who reads it, how far back, about what, and whether it holds."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client

from portal.accounts.models import User
from portal.web import ledger
from sandboxes.audit.models import Entry
from sandboxes.screening import deciding
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


def test_only_for_those_who_read_the_ledger(
    client_of: ClientOf, alice: User, iris: User, omar: User, ada: User
) -> None:
    seen = {who: client_of(who).get("/ledger").status_code for who in (alice, iris, omar, ada)}
    assert seen == {alice: 403, iris: 403, omar: 200, ada: 200}
    assert client_of(alice).post("/ledger/verify").status_code == 403


def test_newest_first(client_of: ClientOf, bob: User, omar: User) -> None:
    world.wait(bob, tools=["<script>"])
    world.ready(bob)
    page = client_of(omar).get("/ledger").content.decode()
    assert page.index("Opened; the lease began") < page.index("Requested")
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


@pytest.mark.parametrize("typed", ["request:{}", "Request {}", "request #{}"])
def test_about_one_subject(client_of: ClientOf, bob: User, omar: User, typed: str) -> None:
    one, other = world.wait(bob), world.wait(bob)
    page = client_of(omar).get("/ledger", {"about": typed.format(one.pk)}).content.decode()
    assert f'href="/requests/{one.pk}"' in page
    assert f'href="/requests/{other.pk}"' not in page


def test_pages_by_number(client_of: ClientOf, bob: User, omar: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PAGE", 2)
    for _ in range(3):
        world.wait(bob)
    last = Entry.objects.latest("id").pk
    browser = client_of(omar)
    assert f'href="/ledger?before={last - 1}"' in browser.get("/ledger").content.decode()
    older = browser.get(f"/ledger?before={last - 1}").content.decode()
    assert f'<td class="end soft">{last - 2}</td>' in older
    assert f'<td class="end soft">{last}</td>' not in older


def test_verifying_a_chain_that_holds(client_of: ClientOf, bob: User, omar: User) -> None:
    world.wait(bob)
    answer = client_of(omar).post("/ledger/verify", headers={"HX-Request": "true"})
    assert "The chain holds." in answer.content.decode()
    assert "<html" not in answer.content.decode()


def test_verifying_a_broken_one_names_the_entry(client_of: ClientOf, bob: User, omar: User) -> None:
    world.wait(bob)
    broken = Entry.objects.latest("id").pk
    with connection.cursor() as cursor:  # somebody with the database's own rights
        cursor.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")
        cursor.execute("UPDATE audit_entry SET actor = 'nobody' WHERE id = %s", [broken])
    page = client_of(omar).post("/ledger/verify").content.decode()
    assert f"The chain is broken at entry {broken}:" in page


def test_a_file_is_named_by_the_beginning_of_its_digest(client_of: ClientOf, iris: User, omar: User) -> None:
    row = world.held()
    deciding.block(row.sha256, iris, "Bad")
    browser = client_of(omar)
    named = f'<a href="/ledger?about=file:{row.sha256}">file {row.sha256[:12]}…</a>'
    assert named in browser.get("/ledger").content.decode()
    assert "Held file blocked" in browser.get(f"/ledger?about=file:{row.sha256}").content.decode()
