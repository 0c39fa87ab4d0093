"""The sandbox's page says what is really installed, and whoever sees it may have it looked at."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Inventory
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


@pytest.fixture
def box(alice: User) -> Sandbox:
    return world.ready(alice)


def _section(client: Client, box: Sandbox) -> str:
    page = client.get(f"/sandboxes/{box.pk}").content.decode()
    return page.partition('aria-labelledby="inventory"')[2].partition("</section>")[0]


def entry(name: str, state: str, **more: Any) -> dict[str, Any]:
    plain = {"ecosystem": "pypi", "version": "1.0", "path": "/workspace/x", "altered": [], "altered_count": 0}
    return {**plain, "name": name, "state": state, **more}


def test_from_asking_to_seeing(client_of: ClientOf, alice: User, iris: User, box: Sandbox) -> None:
    owner = client_of(alice)
    assert "Look now" in _section(owner, box)
    assert "Not looked at yet" in _section(owner, box)
    owner.post(f"/sandboxes/{box.pk}/inventory")
    assert "A worker is about to look" in _section(owner, box)
    entries = [
        entry("flask", "altered", altered=["flask/app.py"], altered_count=3),
        entry("<evil>", "sideloaded"),
        entry("six", "as_received"),
    ]
    Inventory.objects.update(
        taken_at=timezone.now(), entries=entries, counts={"altered": 1, "sideloaded": 1, "as_received": 1}
    )
    for who in (alice, iris):
        section = _section(client_of(who), box)
        for said in ("3 files: flask/app.py", "&lt;evil&gt;", "1 not through the index", "As received"):
            assert said in section


def test_why_there_is_nothing_to_see(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    Inventory.objects.create(sandbox=box, taken_at=timezone.now(), error="There is no pod to look into.")
    assert "There is no pod to look into." in _section(client_of(alice), box)


def test_of_one_that_is_over_nothing_can_be_asked(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    world.over(box)
    owner = client_of(alice)
    told = owner.post(f"/sandboxes/{box.pk}/inventory", follow=True).content.decode()
    assert "only in one that is ready" in told
    assert not Inventory.objects.exists()
    assert "What is really installed" not in told


def test_what_could_not_be_taken_was_tried(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    Inventory.objects.create(sandbox=box, taken_at=timezone.now(), error="There is no pod to look into.")
    section = _section(client_of(alice), box)
    assert "Tried <time" in section
    assert "Looked at" not in section


def test_of_many_the_first_are_shown(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    entries = [entry(f"six-{number}", "as_received") for number in range(51)]
    Inventory.objects.create(
        sandbox=box, taken_at=timezone.now(), entries=entries, counts={"as_received": 51}
    )
    section = _section(client_of(alice), box)
    assert "The first 50 of 51" in section
    assert "six-50" not in section
