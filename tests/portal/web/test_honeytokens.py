"""The sandbox's page says that fake credentials are planted, and who used one."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.lifecycle import bait, honeytokens
from sandboxes.lifecycle.models import HoneytokenUse, Sandbox
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


@pytest.fixture
def box(alice: User) -> Sandbox:
    sandbox = world.ready(alice)
    honeytokens.plant(sandbox)
    return sandbox


def _page(client: Client, sandbox: Sandbox) -> str:
    return client.get(f"/sandboxes/{sandbox.pk}").content.decode()


def use(box: Sandbox, kind: str = "aws", seen_in: Sandbox | None = None) -> None:
    token = box.honeytokens.get(kind=kind)
    HoneytokenUse.objects.create(token=token, seen_in=seen_in, method="GET", path="/honey/…")


def test_the_owner_is_told_that_they_are_there(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    page = _page(client_of(alice), box)
    assert "whoever uses one raises an alarm. So far nobody did." in page
    assert not any(each.shown in page for each in bait.baits(box.pk))


def test_who_used_one(client_of: ClientOf, alice: User, iris: User, bob: User, box: Sandbox) -> None:
    other = world.ready(bob)
    use(box, seen_in=other)
    use(box, "ssh", seen_in=box)
    use(box, "pypi")
    for who in (alice, iris):
        page = _page(client_of(who), box)
        section = page.partition('id="honeytokens"')[2].partition("</section>")[0]
        assert "Planted credentials were used" in page
        named = str(other) if who == alice else f'<a href="/sandboxes/{other.pk}">{other}</a>'
        assert f"Another sandbox</span><br>{named}" in section
        assert "A planted credential was used</h2>" in page.partition('id="installs"')[0]  # before all else
        assert "This sandbox" in section
        assert "Not known" in section
        for each in bait.baits(box.pk):
            assert (each.shown in page) == (each.kind == bait.Kind.AWS)


def test_an_alarm_tells_in_words(client_of: ClientOf, ada: User, box: Sandbox) -> None:
    use(box, seen_in=box)
    honeytokens.tell()
    page = client_of(ada).get("/alarms").content.decode()
    assert "A planted credential was used" in page
    assert f"planted in {box} of alice" in page
    assert "A planted credential was used" in _page(client_of(ada), box)
