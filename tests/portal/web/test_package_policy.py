"""Package policy on pages: read by everybody, changed by admins, and what a profile adds."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.index.models import ListEntry
from sandboxes.index.policy_settings import settings_of
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
FORM = {"cooldown": "14", "yanked": "on", "refuse_from": "high", "most_mib": "1.5", "reason": "Safer"}
LISTED = {"ecosystem": "pypi", "kind": "deny", "pattern": "Evil_Pack>=2", "reason": "It steals"}


def read(client: Client, address: str = "/policy") -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_everybody_reads_it_and_finds_it(client_of: ClientOf, alice: User) -> None:
    browser = client_of(alice)
    assert '<a href="/policy">package policy</a>' in read(browser, "/rules")
    page = read(browser)
    for said in ("Cooldown", "7 days", "Refused from critical", "What always holds"):
        assert said in page
    assert '<li title="Too fresh to be given">cooldown</li>' in page.split("Only an admin")[0]
    assert '<li title="On the deny list">denied</li>' in page.split("Only an admin")[1].split("Nobody")[0]
    assert '<li title="A name of our own">internal-name</li>' in page.split("Nobody")[1]
    assert "/policy/change" not in page
    assert "/policy/list" not in page


def test_changing_the_floor(client_of: ClientOf, ada: User) -> None:
    browser = client_of(ada)
    told = browser.post("/policy/change", FORM, follow=True).content.decode()
    assert "Changed. It holds everywhere within seconds." in told
    floor = settings_of("")
    assert (floor.cooldown.days, floor.sdists, floor.yanked) == (14, False, True)
    assert floor.most_bytes == 1_572_864
    entry = Entry.objects.latest("pk")
    assert (entry.action, entry.data["reason"]) == ("policy.changed", "Safer")
    again = browser.post("/policy/change", FORM, follow=True).content.decode()
    assert "Nothing was different" in again


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cooldown": "long"}, "no number of days"),
        ({"cooldown": "4000"}, "between 0 and 365 days"),
        ({"reason": ""}, "Say why"),
        ({"freeze_at": "soon"}, "is no date"),
    ],
)
def test_what_is_wrong_is_said_and_kept(
    client_of: ClientOf, ada: User, change: dict[str, str], says: str
) -> None:
    answer = client_of(ada).post("/policy/change", {**FORM, **change})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert says in page
    assert 'name="most_mib" value="1.5"' in page
    assert settings_of("").cooldown.days == 7


def test_a_profile_differs_and_goes_back(client_of: ClientOf, ada: User, alice: User) -> None:
    admin = client_of(ada)
    assert "says nothing of its own" in read(admin, "/policy/profiles/gpu")
    admin.post("/policy/change", {**FORM, "profile": "gpu", "sdists": "on"})
    page = read(client_of(alice), "/policy/profiles/gpu")
    row = re.search(r"Cooldown<br>.*?</tr>", page, re.DOTALL)
    assert row
    assert re.findall(r">(\d+ days)<", row[0]) == ["7 days", "14 days", "14 days"]
    assert '<span class="badge wait">14 days</span>' in row[0]
    sdists = re.search(r"Source distributions<br>.*?</tr>", page, re.DOTALL)
    assert sdists
    assert "badge" not in sdists[0]  # it would allow more: the floor holds
    told = admin.post("/policy/reset", {"profile": "gpu", "reason": "As all"}, follow=True)
    assert "says nothing of its own" in told.content.decode()


def test_a_reset_needs_a_reason(client_of: ClientOf, ada: User) -> None:
    world.policy_of("gpu")
    answer = client_of(ada).post("/policy/reset", {"profile": "gpu", "reason": ""})
    assert answer.status_code == 422
    assert settings_of("gpu").cooldown.days == 14


def test_lists(client_of: ClientOf, ada: User, alice: User) -> None:
    admin = client_of(ada)
    told = admin.post("/policy/list", LISTED, follow=True).content.decode()
    assert "is on the list" in told
    assert "evil-pack&gt;=2" in read(client_of(alice))
    entry = ListEntry.objects.get()
    twice = admin.post("/policy/list", LISTED)
    assert twice.status_code == 422
    assert "on this list already" in twice.content.decode()
    assert "Say why" in admin.post(f"/policy/list/{entry.pk}/end", follow=True).content.decode()
    told = admin.post(f"/policy/list/{entry.pk}/end", {"reason": "Mended"}, follow=True).content.decode()
    assert "is off the list" in told
    assert "evil-pack" not in read(client_of(alice))
    told = admin.post(f"/policy/list/{entry.pk}/end", {"reason": "Again"}, follow=True).content.decode()
    assert "ended already" in told
    actions = Entry.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["policy.listed", "policy.unlisted"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pattern": ">>>"}, "names no project"),
        ({"pattern": "demo>=x"}, "no version specifier"),
        ({"reason": ""}, "Say why"),
        ({"kind": "grey"}, "Choose one of"),
        ({"ecosystem": "cargo"}, "Choose one of"),
        ({"source": "mirror"}, "tied to an upstream"),
    ],
)
def test_what_cannot_be_listed(client_of: ClientOf, ada: User, change: dict[str, str], says: str) -> None:
    answer = client_of(ada).post("/policy/list", {**LISTED, **change})
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not ListEntry.objects.exists()


def test_no_such_profile(client_of: ClientOf, ada: User) -> None:
    browser = client_of(ada)
    assert browser.get("/policy/profiles/none").status_code == 404
    assert browser.post("/policy/change", {**FORM, "profile": "none"}).status_code == 404
    assert browser.post("/policy/reset", {"profile": "none", "reason": "x"}).status_code == 404
