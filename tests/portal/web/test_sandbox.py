"""A sandbox's page: phases, credentials, evidence, installs, extending, ending, receipt."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.approvals.models import Kind, Request, State
from portal.web import sandbox as screen
from sandboxes.lifecycle.models import Probe, Quota, Sandbox, Step
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.queries import index_url
from sandboxes.lifecycle.tokens import index_token
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def box(alice: User) -> Sandbox:
    """Alice's sandbox, ready."""
    return world.ready(alice, tools=["rich", "tabulate"])


def _page(client: Client, sandbox: Sandbox) -> str:
    return client.get(f"/sandboxes/{sandbox.pk}").content.decode()


def test_who_sees_it(
    client_of: ClientOf, alice: User, bob: User, iris: User, omar: User, ada: User, box: Sandbox
) -> None:
    seen = {
        who: client_of(who).get(f"/sandboxes/{box.pk}").status_code for who in (alice, bob, iris, omar, ada)
    }
    assert seen == {alice: 200, bob: 404, iris: 200, omar: 200, ada: 200}


def test_phase_evidence_and_history(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    page = _page(client_of(alice), box)
    for said in ("Ready to use.", "The seal holds", "Simulated: no packet was sent.", "198.51.100.7:443"):
        assert said in page
    for said in ("Requested", "Request approved", "Testing the seal", "Opened; the lease began"):
        assert f"<span>{said}</span>" in page


def test_the_token_is_concealed_until_its_owner_asks(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    browser, token = client_of(alice), index_token(box)
    page = _page(browser, box)
    assert "pip install --index-url http" in page
    assert token not in page
    shown = browser.get(f"/sandboxes/{box.pk}/access", headers=HTMX)
    assert index_url(box) in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    whole = browser.get(f"/sandboxes/{box.pk}/access")  # without JavaScript
    assert token in whole.content.decode()
    assert "</html>" in whole.content.decode()


def test_nobody_else_gets_the_token(client_of: ClientOf, bob: User, ada: User, box: Sandbox) -> None:
    for person, status in ((bob, 404), (ada, 403)):
        answer = client_of(person).get(f"/sandboxes/{box.pk}/access")
        assert answer.status_code == status
        assert index_token(box) not in answer.content.decode()
    assert "pip install" not in _page(client_of(ada), box)


def test_no_access_before_it_is_ready_nor_after(client_of: ClientOf, alice: User) -> None:
    browser, early = client_of(alice), world.making(alice)
    assert "pip install" not in _page(browser, early)
    assert index_token(early) not in browser.get(f"/sandboxes/{early.pk}/access").content.decode()
    late = world.over(world.ready(alice))
    assert index_token(late) not in browser.get(f"/sandboxes/{late.pk}/access").content.decode()


def test_a_real_cluster_is_entered_with_kubectl(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    assert "kubectl" not in _page(client_of(alice), box)
    Sandbox.objects.filter(pk=box.pk).update(simulated=False)
    assert f"kubectl -n {box.namespace} exec -it workspace-0 -- sh" in _page(client_of(alice), box)


def test_installs_declared_and_tried(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    world.install(box, "rich", "14.1.0")
    world.install(box, "pygments")
    page = _page(client_of(alice), box)
    assert re.search(r"rich</span></th><td>14\.1\.0</td>.*?pip 26\.3.*?2\.0", page, re.DOTALL)
    assert re.search(r"never tried</p>\s*<ul class=\"chips\"><li>tabulate</li></ul>", page)
    assert "<li>pygments</li>" in page


def test_installs_are_paged(
    client_of: ClientOf, alice: User, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "PAGE", 1)
    world.install(box, "rich")
    newest = world.install(box, "pygments")
    browser = client_of(alice)
    assert f'href="/sandboxes/{box.pk}?before={newest.pk}"' in _page(browser, box)
    older = browser.get(f"/sandboxes/{box.pk}?before={newest.pk}").content.decode()
    assert "rich-1.0-py3-none-any.whl" in older
    assert "pygments-1.0-py3-none-any.whl" not in older


def test_the_live_part_is_quiet_until_something_changes(
    client_of: ClientOf, alice: User, box: Sandbox
) -> None:
    browser = client_of(alice)
    found = re.search(r'hx-get="([^"]+\?v=[0-9a-f]+)"', _page(browser, box))
    assert found
    assert browser.get(found[1], headers=HTMX).status_code == 204
    browser.post(f"/sandboxes/{box.pk}/end")
    part = browser.get(found[1], headers=HTMX).content.decode()
    assert 'hx-trigger="every 2s"' in part
    assert 'hx-swap-oob="innerHTML">Access is revoked' in part  # said to screen readers


def test_ending_early(client_of: ClientOf, alice: User, bob: User, omar: User, box: Sandbox) -> None:
    assert client_of(bob).post(f"/sandboxes/{box.pk}/end").status_code == 404
    assert client_of(omar).post(f"/sandboxes/{box.pk}/end").status_code == 403
    box.refresh_from_db()
    assert box.phase == Phase.READY
    client_of(alice).post(f"/sandboxes/{box.pk}/end")
    box.refresh_from_db()
    assert box.phase == Phase.ENDING
    assert client_of(alice).post(f"/sandboxes/{box.pk}/end", follow=True).status_code == 200


def test_an_approver_may_end_any(client_of: ClientOf, iris: User, box: Sandbox) -> None:
    assert "End now" in _page(client_of(iris), box)
    client_of(iris).post(f"/sandboxes/{box.pk}/end")
    box.refresh_from_db()
    assert box.phase == Phase.ENDING


def test_ending_what_is_over_says_so(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    world.over(box)
    page = client_of(alice).post(f"/sandboxes/{box.pk}/end", follow=True).content.decode()
    assert "This sandbox is over already" in page


def test_extending_within_policy_is_done_at_once(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    before = box.expires_at
    assert before is not None
    answer = client_of(alice).post(
        f"/sandboxes/{box.pk}/extend", {"duration": "P1D", "reason": "One more table."}, follow=True
    )
    asked = Request.objects.get(kind=Kind.EXTENSION)
    box.refresh_from_db()
    assert asked.state == State.APPROVED
    assert box.expires_at is not None
    assert (box.expires_at - before).days == 1
    assert "Extended." in answer.content.decode()


def test_a_longer_extension_waits_and_is_shown(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    answer = client_of(alice).post(
        f"/sandboxes/{box.pk}/extend", {"duration": "P7D", "reason": "A long test."}, follow=True
    )
    asked = Request.objects.get(kind=Kind.EXTENSION)
    page = answer.content.decode()
    assert asked.state == State.PENDING
    assert f'href="/requests/{asked.pk}"' in page
    assert "Ask for more time" not in page
    assert "More time requested" in page


@pytest.mark.parametrize(("duration", "reason", "said"), [("P1D", " ", "Say why"), ("soon", "x", "ISO 8601")])
def test_an_extension_that_cannot_be_taken(
    client_of: ClientOf, alice: User, box: Sandbox, duration: str, reason: str, said: str
) -> None:
    answer = client_of(alice).post(f"/sandboxes/{box.pk}/extend", {"duration": duration, "reason": reason})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Request.objects.filter(kind=Kind.EXTENSION).exists()


def test_only_its_owner_extends_it(client_of: ClientOf, iris: User, box: Sandbox) -> None:
    assert "Ask for more time" not in _page(client_of(iris), box)
    answer = client_of(iris).post(f"/sandboxes/{box.pk}/extend", {"duration": "P1D", "reason": "x"})
    assert answer.status_code == 404


def test_the_receipt(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    world.over(box)
    page = _page(client_of(alice), box)
    for said in ("Receipt", "Absence observed", "Looked for, none found", "StatefulSet/workspace", "Expired"):
        assert said in page
    assert "hx-trigger" not in page
    assert "End now" not in page


def test_a_failure_says_why(client_of: ClientOf, alice: User) -> None:
    failed = world.over(
        world.making(alice), reason="failed", failure="The seal does not hold: <internet> was open."
    )
    page = _page(client_of(alice), failed)
    assert "It could not be opened" in page
    assert "The seal does not hold: &lt;internet&gt; was open." in page
    assert "Nothing you did caused this." in page


def test_ending_is_confirmed_first(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    """The button that ends stands behind one that opens it, and says what it means; no script is needed."""
    page = _page(client_of(alice), box)
    confirm = re.search(r'<details id="end" hx-preserve>(.*?)</details>', page, re.DOTALL)
    assert confirm
    assert '<summary class="button danger">End now</summary>' in confirm[1]
    assert "Everything in it is deleted at once" in confirm[1]
    assert page.count(f'action="/sandboxes/{box.pk}/end"') == confirm[1].count("<form") == 1


def test_one_that_waits_in_the_queue_is_withdrawn(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    Quota.objects.update_or_create(scope="person", subject="", defaults={"sandboxes": 1})
    queued = world.ask(alice).sandbox
    assert queued is not None
    assert queued.phase == Phase.QUEUED
    page = _page(client_of(alice), queued)
    assert "Withdraw it" in page
    assert "End now" not in page
    assert "once there is room" in page
    assert "<dt>Cluster</dt>" not in page
    assert "<dt>Cluster</dt><dd>simulated</dd>" in _page(client_of(alice), box)
    done = client_of(alice).post(f"/sandboxes/{queued.pk}/end", follow=True).content.decode()
    assert "It is withdrawn." in done


def test_the_seals_table_and_the_steps_speak_plainly(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    tried = [
        {**world.ATTEMPT, "target": "v6", "host": "fd00::1", "result": "blocked", "control": "answered"},
        {**world.ATTEMPT, "target": "index", "expected": "open", "result": "open", "milliseconds": 600},
    ]
    Probe.objects.create(sandbox=box, passed=True, simulated=True, attempts=tried)
    Step.objects.create(sandbox=box, name="egress-apply", tries=1)
    page = _page(client_of(alice), box)
    assert "<code>[fd00::1]:443</code>" in page
    assert ">not needed</span>" in page
    assert '<span class="nowrap">600 ms</span>' in page
    assert "Opening a way out" in page
    assert "gress-apply" not in page
