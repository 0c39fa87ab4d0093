"""The list of sandboxes: everybody's for some, one's own for the rest."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.web import sandboxes
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


def test_everybodys_for_those_who_see_all(
    client_of: ClientOf, alice: User, bob: User, iris: User, omar: User, ada: User
) -> None:
    hers, his = world.ready(alice), world.ready(bob)
    for person in (iris, omar, ada):
        page = client_of(person).get("/sandboxes").content.decode()
        assert f'href="/sandboxes/{hers.pk}"' in page
        assert f'href="/sandboxes/{his.pk}"' in page
    page = client_of(alice).get("/sandboxes?show=all&mine=").content.decode()
    assert f'href="/sandboxes/{hers.pk}"' in page
    assert f'href="/sandboxes/{his.pk}"' not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"live"}),
        ("?show=over", {"ended", "failed"}),
        ("?show=failed", {"failed"}),
        ("?show=all", {"live", "ended", "failed"}),
        ("?show=all&q=Research", {"live"}),
        ("?show=nonsense", {"live"}),
    ],
)
def test_filters(client_of: ClientOf, alice: User, bob: User, ada: User, query: str, found: set[str]) -> None:
    rows = {
        "live": world.ready(alice),
        "ended": world.over(world.ready(bob)),
        "failed": world.over(world.making(bob), failure="It broke."),
    }
    part = client_of(ada).get(f"/sandboxes{query}", headers={"HX-Request": "true"}).content.decode()
    assert {name for name, row in rows.items() if f'href="/sandboxes/{row.pk}"' in part} == found


def test_pages(
    client_of: ClientOf, alice: User, bob: User, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "PAGE", 1)
    old, new = world.ready(alice), world.ready(bob)
    browser = client_of(ada)
    first = browser.get("/sandboxes").content.decode()
    assert f'href="?before={new.pk}"' in first
    assert f'"/sandboxes/{old.pk}"' not in first
    assert f'"/sandboxes/{old.pk}"' in browser.get(f"/sandboxes?before={new.pk}").content.decode()
