"""The page that pip and uv name: what it explains, and asking for a waiver there."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.index import policy_settings, waivers
from sandboxes.index.models import Waiver
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy_settings import Kind
from sandboxes.index.refusals import why_url
from sandboxes.index.waivers import State
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Fetch
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
WHY = "/why/pypi/demo/2.0/"
FORM = {"rule": "cooldown", "scope": "sandbox", "until": "P30D", "reason": "For the demo"}
DAY = timedelta(days=1)


@pytest.fixture
def box(alice: User) -> Sandbox:
    world.demo()
    return world.ready(alice)


def read(client: Client, address: str = WHY) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("ecosystem", "project", "version"),
    [("pypi", "demo", "2.0"), ("pypi", "demo", "1!2.0+local.1"), ("npm", "@acme/tool", "1.0.0-rc.1")],
)
def test_the_address_that_clients_print(
    client_of: ClientOf, alice: User, ecosystem: str, project: str, version: str
) -> None:
    address = why_url("", ecosystem, project, version)
    assert f'<h1 class="wrap">{project} {version}' in read(client_of(alice), address)


@pytest.mark.parametrize("tail", ["cargo/demo/1.0/", "pypi/no%20such/1.0/", "npm/@a/b/c/1.0/"])
def test_no_package(client_of: ClientOf, alice: User, tail: str) -> None:
    assert client_of(alice).get(f"/why/{tail}").status_code == 404


def test_it_says_which_rule_until_when_and_what_else(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    page = read(client_of(alice))
    for said in (
        "Why demo 2.0 is not given",
        "Too fresh to be given",
        "Most bad releases are found within days",
        "By itself",
        "in 6 days",
        "<code>demo 1.0</code>",
        "demo-2.0-py3-none-any.whl",
        "demo-2.0.tar.gz",
        "Source distributions are not given",
        "of some files only",
        f'/sandboxes/{box.pk}">Python {box.pk}</a>',
    ):
        assert said in page, said
    assert re.search(r'value="cooldown" checked>', page)
    assert re.search(r'value="sdist">', page)  # not needed, so not ticked


def test_two_clicks_and_a_decision(client_of: ClientOf, alice: User, iris: User, box: Sandbox) -> None:
    browser, approver = client_of(alice), client_of(iris)
    told = browser.post(WHY, {**FORM, "sandbox": box.pk}, follow=True).content.decode()
    assert "Asked. An approver decides" in told
    assert "A waiver is asked for." in told
    assert 'name="reason"' not in told  # there is nothing more to ask for
    waiver = Waiver.objects.get()
    assert (waiver.version, waiver.scope, waiver.subject) == ("2.0", "sandbox", str(box.pk))

    approver.post(f"/waivers/{waiver.pk}/decide", {"decision": "grant"})
    page = read(browser)
    assert "demo 2.0 is given" in page
    assert f'<a href="/waivers/{waiver.pk}">waiver {waiver.pk}</a>' in page
    assert 'name="reason"' not in page


def test_every_version(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    client_of(alice).post(WHY, {**FORM, "rule": ["cooldown", "sdist"], "sandbox": box.pk, "every": "1"})
    assert list(Waiver.objects.order_by("pk").values_list("rule", "version")) == [
        ("cooldown", ""),
        ("sdist", ""),
    ]


def test_what_is_wrong_is_said_and_kept(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    answer = client_of(alice).post(WHY, {**FORM, "sandbox": box.pk, "scope": "world", "reason": "My reason"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert '<a href="#waiver-scope">' in page
    assert "My reason" in page
    assert not Waiver.objects.exists()


def test_asking_twice_is_told(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    browser = client_of(alice)
    for _ in range(2):
        page = browser.post(WHY, {**FORM, "sandbox": box.pk}, follow=True).content.decode()
    assert "You have asked for this already" in page
    assert Waiver.objects.count() == 1


def test_what_nobody_waives_says_why(client_of: ClientOf, alice: User, ada: User, box: Sandbox) -> None:
    policy_settings.add_entry(
        profile="", ecosystem=Ecosystem.PYPI, kind=Kind.INTERNAL, pattern="demo", reason="", by=ada
    )
    policy_settings.add_entry(
        profile="", ecosystem=Ecosystem.PYPI, kind=Kind.INTERNAL, pattern="acme-*", reason="", by=ada
    )
    browser = client_of(alice)
    for address in (WHY, "/why/pypi/acme-tool/1.0/"):
        page = read(browser, address)
        assert "A name of our own" in page
        assert "No waiver opens it" in page
        assert 'name="reason"' not in page
    refused = browser.post(WHY, {**FORM, "rule": "internal-name", "sandbox": box.pk})
    assert refused.status_code == 403


def test_it_says_what_an_admin_decides(client_of: ClientOf, alice: User, ada: User, box: Sandbox) -> None:
    browser = client_of(alice)
    assert "An approver decides" in read(browser)
    policy_settings.add_entry(
        profile="",
        ecosystem=Ecosystem.PYPI,
        kind=Kind.DENY,
        pattern="demo>=2",
        reason="It phones home",
        by=ada,
    )
    page = read(browser)
    assert "Only an admin grants a waiver, because admins keep the list." in page
    assert "On the deny list (admin)" in page
    assert "demo&gt;=2 is not given here: It phones home." in page  # a name is not capitalised
    assert "An admin decides on what is marked so, an approver on the rest" in page
    form = {**FORM, "rule": ["denied", "cooldown"], "sandbox": box.pk}
    page = browser.post(WHY, form, follow=True).content.decode()
    assert "Asked. An admin decides" in page
    assert "On the deny list, for" in page
    assert page.count(": an admin decides on it") == page.count(": an approver decides on it") == 1


def test_what_is_to_be_screened_needs_no_waiver(client_of: ClientOf, alice: User, ada: User) -> None:
    careful = replace(policy_settings.settings_of(""), screened=True)
    policy_settings.change(profile="", settings=careful, by=ada, reason="Look first")
    world.demo()
    world.ready(alice)
    page = read(client_of(alice), "/why/pypi/demo/1.0/")
    assert "No waiver is needed" in page
    assert "of some files only" not in page
    assert 'name="reason"' not in page
    fresh = read(client_of(alice))
    assert 'name="reason"' in fresh
    assert 'value="screening"' not in fresh


def test_which_sandbox(client_of: ClientOf, alice: User, bob: User, iris: User, box: Sandbox) -> None:
    """The one that asked last; another by choice; an approver sees anybody's and asks for none of them."""
    newer = world.ready(alice)
    browser = client_of(alice)
    assert f'<option value="{newer.pk}" selected>' in read(browser)
    Fetch.objects.create(sandbox=box, kind="page", project="demo")
    assert f'<option value="{box.pk}" selected>' in read(browser)
    assert f'<option value="{newer.pk}" selected>' in read(browser, f"{WHY}?sandbox={newer.pk}")
    assert client_of(bob).get(f"{WHY}?sandbox={box.pk}").status_code == 404
    page = read(client_of(iris), f"{WHY}?sandbox={box.pk}")
    assert "In Alice’s sandbox" in page
    assert "Only its owner, Alice, asks" in page
    assert client_of(iris).post(WHY, {**FORM, "sandbox": box.pk}).status_code == 404


def test_without_a_sandbox(client_of: ClientOf, bob: User) -> None:
    world.demo()
    page = read(client_of(bob))
    assert "you have no live sandbox" in page
    assert 'value="person" checked' in page
    assert 'value="department"' not in page


def test_a_project_that_nobody_asked_for(client_of: ClientOf, alice: User) -> None:
    world.ready(alice)
    page = read(client_of(alice), "/why/pypi/unseen/1.0/")
    assert "The index keeps no page of unseen" in page
    assert '<option value="cooldown">' in page
    approvers, admins = page.split('<optgroup label="An approver decides">')[1].split("<optgroup", 1)
    assert '<option value="cooldown">' in approvers
    assert '<option value="malicious">' in admins
    assert '<option value="internal-name">' not in page


def test_a_version_that_there_is_not(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    page = read(client_of(alice), "/why/pypi/demo/9.9/")
    assert "lists no version 9.9" in page
    assert "The newest that is given is 1.0" in page
    assert 'name="reason"' not in page


def test_only_admins_are_offered_the_hammer(
    client_of: ClientOf, alice: User, iris: User, ada: User, box: Sandbox
) -> None:
    link = f"/waivers/break-glass?ecosystem=pypi&amp;project=demo&amp;version=2.0&amp;sandbox={box.pk}"
    address = f"{WHY}?sandbox={box.pk}"
    assert link in read(client_of(ada), address)
    for person in (alice, iris):
        assert "break-glass" not in read(client_of(person), address)


def test_a_refusal_is_told_where_it_was_asked(
    client_of: ClientOf, alice: User, iris: User, box: Sandbox
) -> None:
    waivers.decide(world.waiver(alice, box).pk, grant=False, by=iris, note="Wait the week")
    page = read(client_of(alice))
    assert "Wait the week" in page
    assert 'name="reason"' in page  # they may ask again, with a better reason
    assert Waiver.objects.get().state == State.REFUSED


def test_who_decides_about_held_files_is_led_to_it(
    client_of: ClientOf, alice: User, ada: User, box: Sandbox
) -> None:
    world.held("demo", "1.0")
    link = 'href="/held?q=demo-1.0-py3-none-any.whl"'
    assert link in read(client_of(ada), f"/why/pypi/demo/1.0/?sandbox={box.pk}")
    page = read(client_of(alice), "/why/pypi/demo/1.0/")
    assert "queue already" in page
    assert link not in page
