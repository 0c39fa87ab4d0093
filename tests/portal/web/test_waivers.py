"""Waivers on pages: the queue, the evidence, the decision, the list of those that hold, and broken glass."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.approvals import waivers
from portal.approvals.waivers import Typed
from sandboxes.index.models import Waiver
from sandboxes.index.policy.rules import Rule
from sandboxes.index.policy.waivers import Scope
from sandboxes.index.waivers import State
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.usage.models import Fetch, Install
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def box(alice: User) -> Sandbox:
    world.demo()
    return world.ready(alice)


@pytest.fixture
def asked(alice: User, box: Sandbox) -> Waiver:
    return world.waiver(alice, box)


def read(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def smash(ada: User, box: Sandbox) -> Waiver:
    typed = Typed("pypi", "demo", "2.0", "sandbox", "The patch of tonight", sandbox=box.pk)
    return waivers.break_glass(by=ada, typed=typed)


def test_the_queue_has_them_among_requests(
    client_of: ClientOf, alice: User, bob: User, iris: User, asked: Waiver
) -> None:
    """Oldest first, whatever they are; counted, found and filtered as requests are."""
    request = world.wait(bob)
    own = world.waiver(iris, None)
    approver = client_of(iris)
    page = read(approver, "/queue")
    places = [
        page.index(f'href="{url}"')
        for url in (f"/waivers/{asked.pk}", f"/requests/{request.pk}", f"/waivers/{own.pk}")
    ]
    assert places == sorted(places)
    for said in ("Waiver for demo 2.0", "For the demo", "Too fresh to be given", "For Sandbox"):
        assert said in page
    assert "you: another approver decides" in page
    assert re.search(r'Queue <span class="count">3<', page)
    assert f"/waivers/{asked.pk}" in read(approver, "/queue?q=alice&profile=python")
    for none in ("q=nothing", "profile=gpu"):
        assert "/waivers/" not in read(approver, f"/queue?{none}").replace('href="/waivers"', "")


def test_evidence_and_granting_less(client_of: ClientOf, alice: User, iris: User, box: Sandbox) -> None:
    asked = world.waiver(alice, box, scope=Scope.DEPARTMENT)
    approver = client_of(iris)
    page = read(approver, f"/waivers/{asked.pk}")
    for said in ("Evidence, as of now", "demo-2.0-py3-none-any.whl", "Released", "First seen"):
        assert said in page
    assert f"/why/pypi/demo/2.0/?sandbox={box.pk}" in page
    scopes = re.search(r'<select id="scope".*?</select>', page, re.DOTALL)
    assert scopes
    assert re.findall(r'value="([^"]*)"', scopes[0]) == ["sandbox", "person", "department"]
    form = {"decision": "grant", "scope": "sandbox", "until": "P7D", "reason": "Looked at the diff"}
    told = approver.post(f"/waivers/{asked.pk}/decide", form, follow=True).content.decode()
    assert "You granted this waiver." in told
    asked.refresh_from_db()
    assert (asked.state, asked.scope, asked.decided_by) == (State.GRANTED, "sandbox", iris)
    assert asked.until < timezone.now() + timedelta(days=8)
    theirs = client_of(alice)
    assert "Looked at the diff" in read(theirs, f"/waivers/{asked.pk}")
    for address in ("/", f"/sandboxes/{box.pk}"):
        page = read(theirs, address)
        assert f'href="/waivers/{asked.pk}"' in page, address
        assert ">Granted</span>" in page, address


def test_refusing_takes_a_reason_that_is_read(
    client_of: ClientOf, alice: User, iris: User, box: Sandbox, asked: Waiver
) -> None:
    approver = client_of(iris)
    answer = approver.post(f"/waivers/{asked.pk}/decide", {"decision": "refuse", "reason": " "})
    assert answer.status_code == 422
    assert "Say why it is refused" in answer.content.decode()
    approver.post(f"/waivers/{asked.pk}/decide", {"decision": "refuse", "reason": "Wait the week"})
    for address in ("/", f"/sandboxes/{box.pk}", f"/waivers/{asked.pk}"):
        assert "Wait the week" in read(client_of(alice), address), address


def test_granting_more_is_refused(client_of: ClientOf, iris: User, asked: Waiver) -> None:
    answer = client_of(iris).post(f"/waivers/{asked.pk}/decide", {"decision": "grant", "scope": "all"})
    assert answer.status_code == 422
    assert "never widen" in answer.content.decode()


def test_nobody_decides_their_own(client_of: ClientOf, iris: User) -> None:
    own = world.waiver(iris, None)
    approver = client_of(iris)
    page = read(approver, f"/waivers/{own.pk}")
    assert "Nobody decides on their own" in page
    assert 'value="grant"' not in page
    assert approver.post(f"/waivers/{own.pk}/decide", {"decision": "grant"}).status_code == 403
    own.refresh_from_db()
    assert own.state == State.ASKED


def test_what_takes_an_admin(
    client_of: ClientOf, alice: User, iris: User, ada: User, box: Sandbox, asked: Waiver
) -> None:
    """The queue says so; an approver finds no button to grant it, and the server agrees."""
    malware = world.waiver(alice, box, rule=Rule.MALICIOUS)
    approver, admin = client_of(iris), client_of(ada)
    assert read(approver, "/queue").count("Only an admin grants it") == 1
    page = read(approver, f"/waivers/{malware.pk}")
    assert "Only an admin grants this one" in page
    assert 'value="grant"' not in page
    assert 'value="refuse"' in page
    assert 'value="grant"' in read(approver, f"/waivers/{asked.pk}")
    address, form = f"/waivers/{malware.pk}/decide", {"decision": "grant", "reason": ""}
    assert approver.post(address, form).status_code == 403
    assert Waiver.objects.get(pk=malware.pk).state == State.ASKED
    assert 'value="grant"' in read(admin, f"/waivers/{malware.pk}")
    admin.post(address, form)
    assert Waiver.objects.get(pk=malware.pk).state == State.GRANTED


def test_two_decisions_at_once(client_of: ClientOf, iris: User, igor: User, asked: Waiver) -> None:
    client_of(iris).post(f"/waivers/{asked.pk}/decide", {"decision": "refuse", "reason": "No"})
    told = client_of(igor).post(f"/waivers/{asked.pk}/decide", {"decision": "grant"}, follow=True)
    assert "not asked any more: it is refused" in told.content.decode()


def test_withdrawing(client_of: ClientOf, alice: User, asked: Waiver) -> None:
    browser = client_of(alice)
    assert f"/waivers/{asked.pk}/withdraw" in read(browser, f"/waivers/{asked.pk}")
    told = browser.post(f"/waivers/{asked.pk}/withdraw", follow=True).content.decode()
    assert ">Withdrawn</span>" in told
    assert f"/waivers/{asked.pk}/withdraw" not in told


def test_the_list_and_ending_now(
    client_of: ClientOf, alice: User, bob: User, iris: User, asked: Waiver
) -> None:
    waivers.decide(asked.pk, by=iris, grant=True, reason="")
    approver = client_of(iris)
    page = read(approver, "/waivers")
    assert f'action="/waivers/{asked.pk}/end"' in page
    assert "demo 2.0" in page
    assert "demo 2.0" not in read(client_of(bob), "/waivers")
    told = approver.post(f"/waivers/{asked.pk}/end", {"reason": ""}, follow=True).content.decode()
    assert "Say why it is ended" in told
    told = approver.post(f"/waivers/{asked.pk}/end", {"reason": "It broke"}, follow=True).content.decode()
    assert "Ended. The rule holds again" in told
    assert "It broke" in told
    assert re.search(r"Waiver ended: demo 2.0</span><span[^>]*>iris", told)
    assert "demo 2.0" not in read(approver, "/waivers")
    assert "demo 2.0" in read(approver, "/waivers?show=all")


def test_one_that_is_over_by_its_date(client_of: ClientOf, alice: User, iris: User, asked: Waiver) -> None:
    waivers.decide(asked.pk, by=iris, grant=True, reason="")
    Waiver.objects.update(until=timezone.now() - timedelta(hours=1))
    page = read(client_of(alice), f"/waivers/{asked.pk}")
    assert ">Over</span>" in page
    assert f"/waivers/{asked.pk}/end" not in page
    assert "demo 2.0" not in read(client_of(iris), "/waivers")


def test_the_page_of_one_follows(client_of: ClientOf, alice: User, iris: User, asked: Waiver) -> None:
    browser = client_of(alice)
    found = re.search(r'hx-get="([^"]+\?v=[0-9a-f]+)"', read(browser, f"/waivers/{asked.pk}"))
    assert found
    assert browser.get(found[1], headers=HTMX).status_code == 204
    waivers.decide(asked.pk, by=iris, grant=True, reason="Fine")
    assert ">Granted</span>" in browser.get(found[1], headers=HTMX).content.decode()


def test_breaking_the_glass(client_of: ClientOf, alice: User, iris: User, ada: User, box: Sandbox) -> None:
    admin = client_of(ada)
    form = read(admin, f"/waivers/break-glass?project=demo&version=2.0&sandbox={box.pk}")
    assert 'value="demo"' in form
    assert "P7D" not in form
    typed = {
        "ecosystem": "pypi",
        "project": "demo",
        "version": "2.0",
        "sandbox": str(box.pk),
        "scope": "sandbox",
        "until": "PT1H",
        "reason": "The patch of tonight",
    }
    told = admin.post("/waivers/break-glass", typed, follow=True).content.decode()
    assert "The glass is broken." in told
    assert "demo 2.0 is given" in read(client_of(alice), "/why/pypi/demo/2.0/")
    sandbox = read(client_of(alice), f"/sandboxes/{box.pk}")
    assert re.search(r'<div class="notice bad">\s*<h2>Glass broken for demo 2.0</h2>', sandbox)
    assert "Glass broken: demo 2.0" in sandbox  # what happened
    assert '<span class="badge bad">Glass broken</span>' in read(client_of(iris), "/waivers")
    alarms = read(client_of(iris), "/alarms")
    assert "Somebody broke the glass" in alarms
    assert "The patch of tonight" in alarms
    glass = Waiver.objects.get()
    assert f'<a href="/waivers/{glass.pk}">' in alarms
    client_of(iris).post(f"/waivers/{glass.pk}/end", {"reason": "Done"})
    assert "Glass broken for" not in read(client_of(alice), f"/sandboxes/{box.pk}")
    assert Alarm.objects.get(kind="break_glass").cleared_at is not None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"until": "P2D"}, "until"),
        ({"sandbox": "seven"}, "sandbox"),
        ({"sandbox": "", "scope": "sandbox"}, "scope"),
        ({"project": "no such"}, "project"),
        ({"sandbox": "999999"}, "project"),
    ],
)
def test_glass_that_does_not_break(
    client_of: ClientOf, ada: User, box: Sandbox, change: dict[str, str], field: str
) -> None:
    typed = {"project": "demo", "ecosystem": "pypi", "scope": "all", "reason": "Tonight", **change}
    answer = client_of(ada).post("/waivers/break-glass", typed)
    assert answer.status_code == 422
    assert f'href="#glass-{field}"' in answer.content.decode()
    assert not Waiver.objects.exists()


def test_a_sandbox_says_that_older_versions_were_taken(
    client_of: ClientOf, alice: User, iris: User, box: Sandbox
) -> None:
    browser, page = client_of(alice), f"/sandboxes/{box.pk}"
    assert "Older versions were taken" not in read(browser, page)
    Fetch.objects.create(sandbox=box, kind="page", project="demo", withheld="2.0", withheld_by="cooldown")
    world.install(box, "demo", "1.0", ago=timedelta(seconds=-5))
    Fetch.objects.create(
        sandbox=box,
        kind="file",
        project="demo",
        filename="demo-2.0-py3-none-any.whl",
        refused=Rule.COOLDOWN,
        client="pip 26.3",
    )
    shown = read(browser, page)
    for said in ("Older versions were taken", "<td>1.0</td>", "in 6 days", ">Refused</h2>"):
        assert said in shown, said
    assert shown.count(f'href="/why/pypi/demo/2.0/?sandbox={box.pk}"') == 2
    waivers.decide(world.waiver(alice, box).pk, by=iris, grant=True, reason="")
    assert "Given by now" in read(browser, page)


def test_npm_too(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    day = timedelta(days=1)
    world.packument("@acme/tool", {"1.0.0": 90 * day, "2.0.0": day})
    asked = Fetch(sandbox=box, ecosystem="npm", project="@acme/tool", kind="page", withheld="2.0.0")
    asked.withheld_by = "cooldown"
    asked.save()
    refused = Fetch(sandbox=box, ecosystem="npm", project="@acme/tool", kind="file", refused="cooldown")
    refused.filename = "tool-2.0.0.tgz"
    refused.save()
    taken = world.install(box, "@acme/tool", "1.0.0", ago=timedelta(seconds=-5))
    Install.objects.filter(pk=taken.pk).update(ecosystem="npm")
    address = f"/why/npm/@acme/tool/2.0.0/?sandbox={box.pk}"
    page = read(client_of(alice), f"/sandboxes/{box.pk}")
    assert page.count(f'href="{address}"') == 2
    assert "in 6 days" in page
    why = read(client_of(alice), address)
    assert "Why @acme/tool 2.0.0 is not given" in why
    assert "tool-2.0.0.tgz" in why


def test_the_live_part_of_a_sandbox_follows_its_waivers(
    client_of: ClientOf, alice: User, iris: User, box: Sandbox, asked: Waiver
) -> None:
    browser = client_of(alice)
    found = re.search(r'hx-get="([^"]+\?v=[0-9a-f]+)"', read(browser, f"/sandboxes/{box.pk}"))
    assert found
    assert browser.get(found[1], headers=HTMX).status_code == 204
    waivers.decide(asked.pk, by=iris, grant=True, reason="")
    assert ">Granted</span>" in browser.get(found[1], headers=HTMX).content.decode()
