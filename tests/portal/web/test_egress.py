"""Ways out on pages: asking, deciding, ending, and what went through the proxy."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.approvals.models import Kind, Request, State
from portal.web import egress as screen
from sandboxes.lifecycle import clock, egress
from sandboxes.lifecycle.models import EgressException, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Connection
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true"}
FORM = {"host": "api.example.org", "cidr": "", "port": "443", "until": "PT1H", "reason": "Load the sample"}


@pytest.fixture
def box(alice: User) -> Sandbox:
    """Alice's sandbox, ready for four hours."""
    return world.ready(alice)


def _page(client: Client, sandbox: Sandbox, tail: str = "") -> str:
    return client.get(f"/sandboxes/{sandbox.pk}{tail}").content.decode()


def connection(sandbox: Sandbox, **changes: object) -> Connection:
    given = {"host": "api.example.org", "port": 443, "address": "203.0.113.7", "allowed": True}
    return Connection.objects.create(sandbox=sandbox, **{**given, **changes})


def test_from_asking_to_the_end(client_of: ClientOf, alice: User, iris: User, box: Sandbox) -> None:
    owner, approver = client_of(alice), client_of(iris)
    assert "Ask for a way out" in _page(owner, box)
    told = owner.post(f"/sandboxes/{box.pk}/egress", FORM, follow=True).content.decode()
    assert "An approver decides on it" in told
    asked = Request.objects.get(kind=Kind.EGRESS)
    assert re.search(rf'api\.example\.org:443</code></th><td><a href="/requests/{asked.pk}">Waits', told)
    assert "A way out requested" in told

    queue = approver.get("/queue").content.decode()
    assert "A way out to api.example.org:443" in queue
    request = approver.get(f"/requests/{asked.pk}").content.decode()
    for said in ("A way out to api.example.org:443", "By name, through the egress proxy", "Load the sample"):
        assert said in request
    approver.post(
        f"/requests/{asked.pk}/decide", {"decision": "approve", "granted": "PT30M", "reason": "Fine"}
    )
    asked.refresh_from_db()
    assert asked.state == State.APPROVED

    page = _page(owner, box)
    assert '<span class="badge good">Open</span>' in page
    assert "A way out granted: api.example.org:443" in page
    row = EgressException.objects.get()
    done = owner.post(f"/sandboxes/{box.pk}/egress/{row.pk}/end", follow=True).content.decode()
    assert "The way out to api.example.org:443 is closed." in done
    assert egress.allowed_hosts(box.pk) == frozenset()
    assert "A way out ended: api.example.org:443" in done
    assert f"/egress/{row.pk}/end" not in done


def test_a_block_says_what_it_means(client_of: ClientOf, alice: User, iris: User, box: Sandbox) -> None:
    client_of(alice).post(f"/sandboxes/{box.pk}/egress", {**FORM, "host": "", "cidr": "203.0.113.0/24"})
    asked = Request.objects.get(kind=Kind.EGRESS)
    request = client_of(iris).get(f"/requests/{asked.pk}").content.decode()
    assert "A way out to 203.0.113.0/24:443" in request
    assert "what goes there is not recorded" in request


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"host": "*.example.org"}, "wildcards"),
        ({"host": "", "cidr": "0.0.0.0/0"}, "too much at once"),
        ({"port": "x"}, "1 to 65535"),
        ({"reason": " "}, "what it is needed for"),
        ({"until": "P7D"}, "cannot outlast the lease"),
    ],
)
def test_what_cannot_be_taken_is_said_and_kept(
    client_of: ClientOf, alice: User, box: Sandbox, change: dict[str, str], says: str
) -> None:
    answer = client_of(alice).post(f"/sandboxes/{box.pk}/egress", {**FORM, **change})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert says in page
    assert ("Load the sample" in page) == ("reason" not in change)
    assert not Request.objects.filter(kind=Kind.EGRESS).exists()


def test_asking_twice_is_told(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    browser = client_of(alice)
    for _ in range(2):
        page = browser.post(f"/sandboxes/{box.pk}/egress", FORM, follow=True).content.decode()
    assert "waits for a decision already" in page


def test_lengths_stay_within_the_lease(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    page = _page(client_of(alice), box)
    form = re.search(r'<select id="way-until".*?</select>', page, re.DOTALL)
    assert form
    assert re.findall(r'value="([^"]*)"', form[0]) == ["PT1H", ""]


def test_without_a_proxy_only_blocks_are_offered(
    client_of: ClientOf, alice: User, box: Sandbox, settings: object
) -> None:
    settings.EGRESS_PROXY_URL = ""  # type: ignore[attr-defined]
    page = _page(client_of(alice), box, "/egress")
    assert 'name="cidr"' in page
    assert 'name="host"' not in page


def test_others_see_it_and_cannot_ask(client_of: ClientOf, iris: User, omar: User, box: Sandbox) -> None:
    row = world.way_out(box)
    for person, may_end in ((iris, True), (omar, False)):
        for tail in ("", "/egress"):
            page = _page(client_of(person), box, tail)
            assert "data.example.org:443" in page
            assert 'name="cidr"' not in page
            assert (f"/egress/{row.pk}/end" in page) == may_end


def test_states(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    now = clock.now()
    browser = client_of(alice)
    row = world.way_out(box)
    EgressException.objects.update(host="", cidr="203.0.113.0/24")
    for change, word in (
        ({}, "Being opened"),
        ({"applied_at": now}, "Open"),
        ({"ended_at": now}, "Being closed"),
        ({"removed_at": now}, "Ended"),
    ):
        EgressException.objects.filter(pk=row.pk).update(**change)
        assert f">{word}</span>" in _page(browser, box), word
    EgressException.objects.update(ended_at=None, removed_at=None)
    Sandbox.objects.update(phase=Phase.HIBERNATED)
    assert ">Closed for now</span>" in _page(browser, box)
    Sandbox.objects.update(phase=Phase.ENDED)
    page = _page(browser, box)
    assert f"/egress/{row.pk}/end" not in page
    assert "Ask for a way out" not in page


def test_connections_are_shown_and_paged(
    client_of: ClientOf, alice: User, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection(box, bytes_up=2048, ended_at=clock.now(), reason="Closed by its ends.")
    newest = connection(box, host="evil.example.org", allowed=False, reason="Not allowed", repeats=7)
    browser = client_of(alice)
    page = _page(browser, box)
    for said in ("api.example.org:443", "2.0", "Closed by its ends.", "evil.example.org:443", "and 7 more"):
        assert said in page
    monkeypatch.setattr(screen, "PAGE", 1)
    first = _page(browser, box, "/egress")
    assert f"?before={newest.pk}" in first
    older = _page(browser, box, f"/egress?before={newest.pk}")
    assert "api.example.org:443" in older
    assert "evil.example.org" not in older


def test_the_live_part_follows(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    browser = client_of(alice)
    found = re.search(r'hx-get="([^"]+\?v=[0-9a-f]+)"', _page(browser, box))
    assert found
    assert browser.get(found[1], headers=HTMX).status_code == 204
    connection(box)
    assert "api.example.org:443" in browser.get(found[1], headers=HTMX).content.decode()


def test_what_was_granted_and_what_was_asked(
    client_of: ClientOf, alice: User, iris: User, box: Sandbox
) -> None:
    """The request's page has the date that counts, also where the same was granted before."""
    world.way_out(box, FORM["host"])
    client_of(alice).post(f"/sandboxes/{box.pk}/egress", FORM)
    asked = Request.objects.get(kind=Kind.EGRESS)
    path = f"/requests/{asked.pk}"
    assert "Asked for until" not in client_of(alice).get(path).content.decode()
    client_of(iris).post(f"{path}/decide", {"decision": "approve", "granted": "PT30M"})
    row = EgressException.objects.latest("pk")
    page = client_of(alice).get(path).content.decode()
    shown = f"{row.until:%Y-%m-%d %H:%M:%S} UTC</time>"
    assert re.search(rf"<dt>Until</dt><dd><time [^>]*>{re.escape(shown)}<br>", page)
    assert "Asked for until" in page
    client_of(alice).post(f"/sandboxes/{box.pk}/egress/{row.pk}/end")
    assert "Ended <time" in client_of(alice).get(path).content.decode()
