"""The sandbox page's other things to do: who is offered what, what they mean, and what the owner then reads."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle import hibernation, holds, isolation
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


@pytest.fixture
def box(alice: User) -> Sandbox:
    return world.ready(alice)


def _page(browser: Client, sandbox: Sandbox) -> str:
    answer = browser.get(f"/sandboxes/{sandbox.pk}")
    assert answer.status_code == 200
    return answer.content.decode()


def _post(browser: Client, sandbox: Sandbox, what: str, **fields: str) -> str:
    answer = browser.post(f"/sandboxes/{sandbox.pk}/{what}", fields, follow=True)
    assert answer.status_code == 200
    sandbox.refresh_from_db()
    return answer.content.decode()


def _offers(page: str) -> set[str]:
    return {
        what
        for what in ("hibernate", "wake", "isolate", "release", "hold", "lift")
        if f'action="/sandboxes/{_number(page)}/{what}"' in page
    }


def _number(page: str) -> str:
    return page.partition('hx-get="/sandboxes/')[2].partition("?")[0]


def test_who_is_offered_what(
    client_of: ClientOf, alice: User, iris: User, omar: User, ada: User, box: Sandbox
) -> None:
    offered = {person.username: _offers(_page(client_of(person), box)) for person in (alice, iris, omar, ada)}
    assert offered == {"alice": {"hibernate"}, "iris": {"isolate"}, "omar": set(), "ada": {"isolate", "hold"}}


def test_nothing_is_offered_of_what_is_on_its_way_or_over(
    client_of: ClientOf, alice: User, ada: User, box: Sandbox
) -> None:
    making = world.making(alice)
    assert _offers(_page(client_of(alice), making)) == set()
    assert _offers(_page(client_of(ada), making)) == {"hold"}
    assert "Other things to do" not in _page(client_of(ada), world.over(box))


class TestSleep:
    def test_what_is_lost_is_said_before_the_button(
        self, client_of: ClientOf, alice: User, box: Sandbox
    ) -> None:
        page = _page(client_of(alice), box)
        assert page.index("All files in <code>/workspace</code> are lost") < page.index("Delete the files")

    def test_to_sleep_and_awake_again(self, client_of: ClientOf, alice: User, box: Sandbox) -> None:
        browser = client_of(alice)
        page = _post(browser, box, "hibernate")
        assert box.phase == Phase.HIBERNATED
        assert "It is falling asleep" in page
        assert "pip install" not in page
        Sandbox.objects.update(hibernated_at=timezone.now())
        page = _page(browser, box)
        assert "It is asleep" in page
        assert "Wake it up" in page
        assert "data-until" in page, "the lease goes on, and the page shows it"
        page = _post(browser, box, "wake")
        assert box.phase == Phase.PROBING
        assert "Opening again" in page

    def test_it_is_not_offered_twice(self, client_of: ClientOf, alice: User, box: Sandbox) -> None:
        hibernation.hibernate(box.pk, by=alice)
        assert _offers(_page(client_of(alice), box)) == {"wake"}


class TestIsolation:
    def test_the_owner_reads_why_and_whom_to_ask(
        self, client_of: ClientOf, alice: User, iris: User, ada: User, box: Sandbox
    ) -> None:
        _post(client_of(iris), box, "isolate", reason="A package in it <leaks> keys.")
        assert box.phase == Phase.ISOLATED
        page = _page(client_of(alice), box)
        assert "A package in it &lt;leaks&gt; keys." in page
        assert 'href="mailto:iris@example.com">Iris</a>' in page
        assert "It is being cut off" in page
        assert "are being cut off now" in page
        assert "It is cut off" not in page
        assert "It held when it was tested" in page
        assert "The seal holds" not in page
        Sandbox.objects.update(cut_at=timezone.now())
        page = _page(client_of(alice), box)
        assert "It is cut off" in page
        assert "nothing in it runs. Your files are kept." in page
        assert _offers(page) == set()

    def test_its_owner_does_not_end_it_and_an_approver_does(
        self, client_of: ClientOf, alice: User, iris: User, box: Sandbox
    ) -> None:
        isolation.isolate(box.pk, by=iris, reason="odd")
        assert "End now" not in _page(client_of(alice), box)
        answer = client_of(alice).post(f"/sandboxes/{box.pk}/end")
        assert answer.status_code == 403
        assert "an approver can end it" in answer.content.decode()
        _post(client_of(iris), box, "end")
        assert box.phase == Phase.ENDING

    def test_an_approver_releases_it(
        self, client_of: ClientOf, iris: User, ada: User, alice: User, box: Sandbox
    ) -> None:
        isolation.isolate(box.pk, by=ada, reason="it scans the network")
        browser = client_of(iris)
        assert _offers(_page(browser, box)) == {"release"}
        page = _post(browser, box, "release", reason="A false alarm.")
        assert box.phase == Phase.PROBING
        assert "Released." in page
        assert "It is cut off" not in page

    def test_not_their_own(self, client_of: ClientOf, iris: User, ada: User) -> None:
        hers = world.ready(iris)
        isolation.isolate(hers.pk, by=ada, reason="odd")
        browser = client_of(iris)
        page = _page(browser, hers)
        assert _offers(page) == set()
        assert "mailto:iris@example.com" not in page
        assert browser.post(f"/sandboxes/{hers.pk}/release", {"reason": "me"}).status_code == 403

    def test_without_a_reason_nothing_happens(self, client_of: ClientOf, iris: User, box: Sandbox) -> None:
        assert "Say why it is isolated" in _post(client_of(iris), box, "isolate", reason=" ")
        assert box.phase == Phase.READY

    def test_too_late(self, client_of: ClientOf, iris: User, alice: User, box: Sandbox) -> None:
        world.over(box)
        assert "cannot be isolated any more" in _post(client_of(iris), box, "isolate", reason="late")


class TestHold:
    def test_until_the_end_of_that_day(
        self, client_of: ClientOf, ada: User, alice: User, box: Sandbox
    ) -> None:
        day = timezone.now().date() + timedelta(days=3)
        page = _post(client_of(ada), box, "hold", until=f"{day}", reason="A dispute.")
        assert box.hold_until is not None
        assert f"{box.hold_until:%Y-%m-%d %H:%M}" == f"{day} 23:59"
        assert f"Legal hold until {day}" in page
        assert {"lift", "hold"} <= _offers(page)
        assert "End now" not in page
        page = _page(client_of(alice), box)
        assert "A dispute." in page
        assert "Ada put the hold on it." in page
        assert _offers(page) == set()

    def test_ending_is_refused_with_the_reason(
        self, client_of: ClientOf, ada: User, alice: User, box: Sandbox
    ) -> None:
        holds.hold(box.pk, until=timezone.now() + timedelta(days=3), reason="A dispute.", by=ada)
        answer = client_of(alice).post(f"/sandboxes/{box.pk}/end")
        assert answer.status_code == 403
        assert "by ada: A dispute." in answer.content.decode()

    def test_lifting(self, client_of: ClientOf, ada: User, box: Sandbox) -> None:
        holds.hold(box.pk, until=timezone.now() + timedelta(days=3), reason="A dispute.", by=ada)
        page = _post(client_of(ada), box, "lift", reason="Settled.")
        assert box.hold_until is None
        assert "Legal hold until" not in page
        assert "End now" in page

    @pytest.mark.parametrize(("until", "said"), [("", "until which day"), ("2020-01-01", "in the future")])
    def test_a_date_that_cannot_be_taken(
        self, client_of: ClientOf, ada: User, box: Sandbox, until: str, said: str
    ) -> None:
        assert said in _post(client_of(ada), box, "hold", until=until, reason="A dispute.")
        assert box.hold_until is None


def test_the_live_part_follows(client_of: ClientOf, alice: User, iris: User, box: Sandbox) -> None:
    """What is isolated by somebody else appears under the owner's eyes, and is read out."""
    browser = client_of(alice)
    version = _page(browser, box).partition("?v=")[2].partition('"')[0]
    isolation.isolate(box.pk, by=iris, reason="odd")
    part = browser.get(f"/sandboxes/{box.pk}?v={version}", headers={"HX-Request": "true"}).content.decode()
    assert "It is being cut off" in part
    assert 'hx-swap-oob="innerHTML">Isolated' in part
