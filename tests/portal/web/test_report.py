"""The report: auditors and admins only; the page shows, the download streams."""

import csv
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.web import report
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


def test_only_for_those_who_read_reports(
    client_of: ClientOf, alice: User, iris: User, omar: User, ada: User
) -> None:
    for path in ("/reports/usage", "/reports/usage.csv"):
        seen = {who: client_of(who).get(path).status_code for who in (alice, iris, omar, ada)}
        assert seen == {alice: 403, iris: 403, omar: 200, ada: 200}


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("tool", "rich"),
        ("version", "14.1.0"),
        ("person", "Alice"),
        ("department", "Research"),
        ("install", "pip 26.3"),
        ("nonsense", "Alice"),
    ],
)
def test_each_level(client_of: ClientOf, alice: User, omar: User, by: str, said: str) -> None:
    world.install(world.ready(alice), "rich", "14.1.0")
    page = client_of(omar).get(f"/reports/usage?by={by}").content.decode()
    assert said in page
    assert "/reports/usage.csv?from=" in page


def test_the_period(client_of: ClientOf, alice: User, omar: User) -> None:
    world.install(world.ready(alice), "rich", ago=timedelta(days=60))
    browser = client_of(omar)
    assert "Nothing was installed in this period" in browser.get("/reports/usage").content.decode()
    assert "rich" in browser.get("/reports/usage?from=2020-01-01&by=tool").content.decode()
    broken = browser.get("/reports/usage?from=2026-05-01&to=2026-04-01")
    assert broken.status_code == 422
    assert "A period begins before it ends" in broken.content.decode()
    assert browser.get("/reports/usage.csv?from=2026-05-01&to=2026-04-01").status_code == 422


def test_the_page_stops_and_points_at_the_download(
    client_of: ClientOf, alice: User, omar: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "SHOWN", 1)
    sandbox = world.ready(alice)
    for project in ("rich", "tabulate"):
        world.install(sandbox, project)
    page = client_of(omar).get("/reports/usage?by=tool").content.decode()
    assert "The first 1 rows" in page
    assert "tabulate" not in page
    assert "Download all as CSV" in page


def test_the_download_streams(client_of: ClientOf, alice: User, omar: User) -> None:
    world.install(world.ready(alice), "rich", "14.1.0")
    answer = client_of(omar).get("/reports/usage.csv?by=version")
    assert answer.streaming
    assert answer["Content-Disposition"].startswith("attachment")
    rows = list(csv.DictReader(b"".join(answer).decode().splitlines()))
    assert [(row["tool"], row["version"], row["people"]) for row in rows] == [("rich", "14.1.0", "1")]


def test_what_is_not_said_is_as_the_api_has_it(client_of: ClientOf, omar: User) -> None:
    """Thirty days up to the end, whichever that is, by person."""
    page = client_of(omar).get("/reports/usage?to=2026-03-31").content.decode()
    assert 'name="from" value="2026-03-01"' in page
    assert '<option value="person" selected>' in page
    assert client_of(omar).get("/reports/usage?to=0001-01-03").status_code == 422
