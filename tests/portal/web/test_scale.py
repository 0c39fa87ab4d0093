"""The scale as an admin sees, tries, changes and restores it."""

import re
from collections.abc import Callable

import pytest
from django.db.models.functions import Now
from django.test import Client

from portal.accounts.models import User
from portal.approvals import scale as approvals
from sandboxes.audit.models import Entry
from sandboxes.screening import scale, scoring
from sandboxes.screening.models import Rules
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db
USUAL = approvals.typed(scoring.DEFAULT)


def test_the_table_has_every_cell(client_of: ClientOf, ada: User) -> None:
    page = client_of(ada).get("/scale").content.decode()
    fields = dict(re.findall(r'<input[^>]*? name="([\w-]+)" value="(\d+)"', page))
    assert fields == USUAL
    assert "Changed from the defaults" not in page


def test_tried_before_it_is_saved(client_of: ClientOf, ada: User) -> None:
    world.held()
    part = client_of(ada).post("/scale/preview", USUAL | {"hold": "150"}, headers={"HX-Request": "true"})
    assert re.search(r"Held no more</dt><dd><span[^>]+>1<", part.content.decode())
    wrong = client_of(ada).post("/scale/preview", USUAL | {"hold": "1"}).content.decode()
    assert "must rise" in wrong
    assert scale.is_default()


def test_changed_and_restored(client_of: ClientOf, ada: User) -> None:
    browser = client_of(ada)
    form = USUAL | {"hold": "150", "network-high": "40", "reason": "Too much was held"}
    assert browser.post("/scale/change", form).status_code == 302
    assert scale.current().hold == 150
    page = browser.get("/scale").content.decode()
    assert "Changed from the defaults" in page
    assert "usually 25" in page
    changed = Entry.objects.get(action="scale.changed").data["changed"]
    assert changed == {"hold": [100, 150], "network/high": [25, 40]}
    assert "Nothing was different" in browser.post("/scale/change", form, follow=True).content.decode()
    assert browser.post("/scale/restore", {"reason": ""}).status_code == 422
    assert browser.post("/scale/restore", {"reason": "As it was"}).status_code == 302
    assert scale.current() == scoring.DEFAULT


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"hold": "many"}, "hold"),
        ({"hold": ""}, "hold"),
        ({"warn": "500"}, "rise"),
        ({"network-low": "-1"}, "network, low"),
        ({"network-low": "99999"}, "network, low"),
        ({"reason": " "}, "Say why"),
    ],
)
def test_what_makes_no_scale_comes_back(
    client_of: ClientOf, ada: User, typed: dict[str, str], said: str
) -> None:
    answer = client_of(ada).post("/scale/change", USUAL | {"reason": "Why"} | typed)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert said in page
    for name, value in typed.items():
        assert f'name="{name}" value="{value}"' in page
    assert scale.is_default()


def test_the_patterns_of_each_place_and_what_is_wrong_with_them(client_of: ClientOf, ada: User) -> None:
    assert "No screening process was heard of" in client_of(ada).get("/scale").content.decode()
    problem = {"file": "acme<b>.yar", "line": 7, "message": "error[E025]: unknown pattern"}
    said = {"changed_at": Now(), "seen_at": Now(), "ours": 33, "added": 2}
    Rules.objects.create(place="one:/rules", folder="/rules", digest="a", problems=[problem], **said)
    page = client_of(ada).get("/scale").content.decode()
    assert "one:/rules" in page
    assert "<code>acme&lt;b&gt;.yar</code>, line 7: error[E025]: unknown pattern" in page
    assert re.search(r'Rules of ours">33<.*Rules of yours">2', page, re.DOTALL)
    assert "Not all places" not in page
    Rules.objects.create(place="two:", digest="b", **said)
    page = client_of(ada).get("/scale").content.decode()
    assert "Not all places have the same rules" in page
    assert "no folder is set" in page


def test_what_was_reopened_is_not_counted_as_freed(client_of: ClientOf, ada: User) -> None:
    world.held(reopened=True)
    assert scale.effect(approvals.parse(USUAL | {"hold": "150"})).freed == 0
