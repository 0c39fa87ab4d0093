"""Advisories as people read, declare and withdraw them, and the feeds they come from."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal import env_screening
from portal.accounts.models import User
from portal.web import screening_words
from sandboxes.audit.models import Entry
from sandboxes.screening import advisories, lookup
from sandboxes.screening.feeds import import_feed
from sandboxes.screening.models import Advisory, Feed
from sandboxes.screening.words import Ecosystem
from tests.portal.web import world
from tests.sandboxes.screening.documents import affected, document

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db
DECLARED = {"project": "Evil_Thing", "which": "all", "kind": "malicious", "why": "It steals <tokens>"}


def _page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_malware_first_and_withdrawn_shown_as_such(client_of: ClientOf, ada: User, alice: User) -> None:
    advisories.put(document("PYSEC-2026-1", affected("demo", versions=["1"])), by=ada)
    bad = world.advisory(ada, "bad")
    advisories.withdraw(world.advisory(ada, "fine").pk, by=ada, reason="A slip")
    page = _page(client_of(alice), "/advisories")
    assert page.index(bad.pk) < page.index("PYSEC-2026-1")
    assert re.findall(r'class="badge \w+">([^<]+)', page) == [
        "Withdrawn",
        "Malicious",
        "Not rated, counts as high",
    ]
    assert "Declare one" not in page
    assert "Feeds" not in page


def test_searched_and_paged(client_of: ClientOf, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        world.advisory(ada, f"bad{number}")
    monkeypatch.setattr("portal.web.advisories.PAGE", 2)
    browser = client_of(ada)
    page = _page(browser, "/advisories")
    [after] = re.findall(r"after=([\w-]+)", page)
    assert page.count("/advisories/PETRI-") == 2
    assert _page(browser, f"/advisories?after={after}").count("/advisories/PETRI-") == 1
    assert _page(browser, "/advisories?q=bad1").count("/advisories/PETRI-") == 1
    assert "No advisory matches" in _page(browser, "/advisories?q=absent")
    assert _page(browser, "/advisories?kind=withdrawn").count("/advisories/PETRI-") == 0
    assert _page(browser, "/advisories?kind=odd&after=odd").count("/advisories/PETRI-") == 2


def test_one_is_read_whole_and_nothing_of_it_is_taken_for_html(
    client_of: ClientOf, ada: User, alice: User
) -> None:
    record = document(
        "GHSA-1",
        affected("demo", [("introduced", "1.0"), ("fixed", "2.0")], versions=["1.1"]),
        summary="<script>alert(1)</script>",
        details="More of it",
        aliases=["CVE-2026-1"],
        references=[{"url": "javascript:alert(1)"}, {"url": "https://example.org/"}, "odd"],
    )
    advisories.put(record, by=ada)
    page = _page(client_of(alice), "/advisories/GHSA-1")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "From 1.0 to before 2.0" in page
    assert "CVE-2026-1" in page
    assert 'href="https://example.org/"' in page
    assert 'href="javascript' not in page
    assert "&quot;schema_version&quot;: &quot;1.6.0&quot;" in page
    assert "Withdraw it" not in page
    assert client_of(alice).get("/advisories/absent").status_code == 404


@pytest.mark.parametrize(
    ("typed", "hit", "spared"),
    [
        ({"which": "all"}, ["0.1", "9.0"], []),
        ({"which": "listed", "versions": "1.0, 1.2"}, ["1.0", "1.2"], ["1.1"]),
        ({"which": "range", "first": "1.0", "fixed": "2.0"}, ["1.0", "1.9"], ["0.9", "2.0"]),
        ({"which": "range", "fixed": "2.0"}, ["0.1"], ["2.0"]),
        ({"which": "range", "first": "2.0"}, ["2.0", "9.0"], ["1.9"]),
    ],
)
def test_declared_as_it_was_typed(
    client_of: ClientOf, ada: User, typed: dict[str, str], hit: list[str], spared: list[str]
) -> None:
    answer = client_of(ada).post("/advisories/declare", DECLARED | typed)
    row = Advisory.objects.get()
    assert answer["Location"] == f"/advisories/{row.pk}"
    assert (row.malicious, row.summary) == (True, "It steals <tokens>")
    known = lookup.known(
        Ecosystem.PYPI,
        [
            {
                "project": each.project,
                "versions": each.versions,
                "ranges": each.ranges,
                **{name: getattr(row, name) for name in ("id", "malicious", "severity", "aliases")},
            }
            for each in row.affected.all()
        ],
    )["evil-thing"]
    assert all(known.of(version) for version in hit)
    assert not any(known.of(version) for version in spared)
    assert Entry.objects.get(action="advisory.declared").actor == "ada"


def test_a_vulnerability_of_an_npm_package(client_of: ClientOf, ada: User) -> None:
    typed = {"ecosystem": "npm", "project": "@acme/Thing", "which": "range", "fixed": "2.0.0"}
    client_of(ada).post(
        "/advisories/declare", DECLARED | typed | {"kind": "vulnerable", "severity": "critical"}
    )
    row = Advisory.objects.get()
    assert (row.malicious, row.severity, row.ecosystem) == (False, 4, "npm")
    assert row.affected.get().project == "@acme/Thing"


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"project": " "}, "project"),
        ({"project": "no name"}, "project"),
        ({"why": ""}, "why"),
        ({"why": "x" * 301}, "why"),
        ({"ecosystem": "cargo"}, "ecosystem"),
        ({"which": "some"}, "which"),
        ({"which": "listed"}, "versions"),
        ({"which": "listed", "versions": "1.0 odd"}, "versions"),
        ({"which": "range", "first": "odd"}, "first"),
        ({"which": "range", "fixed": "odd"}, "fixed"),
        ({"kind": "rude"}, "kind"),
        ({"kind": "vulnerable", "severity": "awful"}, "severity"),
    ],
)
def test_what_cannot_be_declared_comes_back(
    client_of: ClientOf, ada: User, typed: dict[str, str], field: str
) -> None:
    answer = client_of(ada).post("/advisories/declare", DECLARED | {"severity": "low"} | typed)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert re.findall(r'<li><a href="#(\w+)">', page) == [field]
    assert not Advisory.objects.exists()


def test_the_preview_counts_before_anything_is_declared(client_of: ClientOf, ada: User, alice: User) -> None:
    sandbox = world.ready(alice)
    world.install(sandbox, "evil-thing", "1.0")
    world.install(sandbox, "evil-thing", "3.0")
    browser, ranged = client_of(ada), DECLARED | {"which": "range", "fixed": "2.0", "why": ""}
    part = browser.post(
        "/advisories/declare/preview", ranged, headers={"HX-Request": "true"}
    ).content.decode()
    assert re.search(r"Live sandboxes</dt><dd><span [^>]+>1<", part)
    assert "1, in 1 sandbox ever" in part
    assert "<html" not in part
    wrong = browser.post("/advisories/declare/preview", {**DECLARED, "which": "listed"})
    assert "Name at least one version." in wrong.content.decode()
    assert not Advisory.objects.exists()


def test_withdrawn_with_a_reason(client_of: ClientOf, ada: User, alice: User) -> None:
    row = world.advisory(ada)
    browser, address = client_of(ada), f"/advisories/{row.pk}"
    assert "Withdraw it" in _page(browser, address)
    assert browser.post(f"{address}/withdraw", {"reason": " "}).status_code == 422
    assert browser.post(f"{address}/withdraw", {"reason": "It was the other one"}).status_code == 302
    page = _page(client_of(alice), address)
    assert "It says nothing any more: It was the other one" in page
    row.refresh_from_db()
    assert row.withdrawn_at is not None
    assert Entry.objects.get(action="advisory.withdrawn").data["reason"] == "It was the other one"
    assert "Withdraw it" not in _page(browser, address)
    told = browser.post(f"{address}/withdraw", {"reason": "Again"}, follow=True).content.decode()
    assert "withdrawn already" in told


def test_a_feeds_advisory_is_not_ours_to_withdraw(client_of: ClientOf, ada: User) -> None:
    advisories.put(document("GHSA-1", affected("demo", versions=["1"])), by=ada)
    browser = client_of(ada)
    assert "Withdraw it" not in _page(browser, "/advisories/GHSA-1")
    told = browser.post("/advisories/GHSA-1/withdraw", {"reason": "No"}, follow=True).content.decode()
    assert "not ours" in told
    assert Advisory.objects.get().withdrawn_at is None


def test_feeds_with_their_age_and_their_error(client_of: ClientOf, omar: User, settings: Any) -> None:
    now = timezone.now()
    settings.SCREENING_FEEDS = env_screening.read(
        {"SCREENING_FEEDS": "https://me:hush@osv.example.org/a.zip https://osv.example.org/never.zip"}
    )
    Feed.objects.create(
        source="https://osv.example.org/a.zip",
        attempted_at=now,
        succeeded_at=now - timedelta(days=3),
        error="It does not answer.",
    )
    Feed.objects.create(source="/srv/osv", attempted_at=now, succeeded_at=now)
    page = _page(client_of(omar), "/advisories")
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition('id="feeds"')[2], re.DOTALL)[1:]
    said = [re.sub(r"<[^>]+>|\s+", " ", row) for row in rows]
    assert [("never.zip" in row, "a.zip" in row, "/srv/osv" in row) for row in said] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert ["Never" in said[0], "On schedule" in said[0], "Old" in said[0]] == [True] * 3
    assert ["3 days ago" in said[1], "It does not answer." in said[1], "Old" in said[1]] == [True] * 3
    assert ["just now" in said[2], "By hand" in said[2], "Fresh" in said[2]] == [True] * 3
    assert "hush" not in page
    above = page.partition('id="results"')[0]
    assert ["never.zip" in above, "a.zip" in above, "/srv/osv" in above] == [
        True,
        True,
        False,
    ]  # old, on schedule


def test_broken_records_of_the_last_import_are_named(
    client_of: ClientOf, omar: User, ada: User, tmp_path: Path
) -> None:
    (tmp_path / "good.json").write_text(json.dumps(document("GHSA-1", affected("demo", versions=["1"]))))
    (tmp_path / "bad.json").write_text("{")
    import_feed(str(tmp_path), by=ada)
    feeds = _page(client_of(omar), "/advisories").partition('id="feeds"')[2]
    assert "1 broken record skipped" in feeds
    assert "bad.json: it is no JSON" in feeds
    (tmp_path / "bad.json").unlink()
    import_feed(str(tmp_path), by=ada)
    assert "broken record" not in _page(client_of(omar), "/advisories").partition('id="feeds"')[2]


def test_from_an_advisory_to_who_is_exposed(client_of: ClientOf, alice: User, omar: User, ada: User) -> None:
    advisories.put(document("GHSA-1", affected("demo", versions=["1"])), by=ada)
    link = 'href="/exposures/of/GHSA-1"'
    assert link in _page(client_of(omar), "/advisories/GHSA-1")
    assert link not in _page(client_of(alice), "/advisories/GHSA-1")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([["introduced", "0"]], "every version"),
        ([["introduced", "0"], ["fixed", "1.0"]], "from the first to before 1.0"),
        ([["introduced", "0.5"], ["last_affected", "1.0"]], "from 0.5 up to 1.0"),
    ],
)
def test_ranges_in_words(events: list[list[str]], said: str) -> None:
    assert screening_words.range_in_words(events) == said
