"""The engine's pause, told to those whom it concerns."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.lifecycle import isolation, switch
from sandboxes.lifecycle.models import Sandbox
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
TOLD = "Work on sandboxes is paused"


@pytest.fixture
def paused(ada: User) -> None:
    switch.pause(ada, "The storage is moved")


def _says(client: Client, path: str) -> bool:
    """At most once on a page."""
    page = client.get(path).content.decode()
    assert page.count(TOLD) <= 1
    assert page.count(TOLD) == page.count("The storage is moved") or path == "/operate"
    return TOLD in page


def test_only_those_who_wait_and_admins_are_told(
    client_of: ClientOf, alice: User, bob: User, iris: User, ada: User, paused: None
) -> None:
    world.making(alice)
    world.ready(bob)
    told = {who: _says(client_of(who), "/rules") for who in (alice, bob, iris, ada)}
    assert told == {alice: True, bob: False, iris: False, ada: True}
    assert [_says(client_of(alice), path) for path in ("/", "/requests/new", "/profile")] == [True] * 3
    assert all(_says(client_of(ada), path) for path in ("/", "/operate", "/sandboxes"))


def test_the_page_of_a_sandbox_that_waits_says_so_to_whoever_sees_it(
    client_of: ClientOf, alice: User, iris: User, paused: None
) -> None:
    waiting, ready = world.making(alice), world.ready(alice)
    for reader in (alice, iris):
        assert _says(client_of(reader), f"/sandboxes/{waiting.pk}")
        assert not _says(client_of(reader), f"/sandboxes/{ready.pk}")
    page = client_of(alice).get(f"/sandboxes/{waiting.pk}").content.decode()
    assert "This sandbox goes on by itself" in page
    assert "resume</a>" not in page


def test_what_is_being_cut_off_waits_too(client_of: ClientOf, alice: User, iris: User, paused: None) -> None:
    box = world.ready(alice)
    isolation.isolate(box.pk, by=iris, reason="Odd")
    assert _says(client_of(alice), f"/sandboxes/{box.pk}")
    Sandbox.objects.filter(pk=box.pk).update(cut_at=box.ready_at)
    assert not _says(client_of(alice), f"/sandboxes/{box.pk}")


def test_a_page_that_is_open_learns_of_it(client_of: ClientOf, alice: User, ada: User) -> None:
    box = world.making(alice)
    browser = client_of(alice)
    for path in ("/", f"/sandboxes/{box.pk}"):
        version = browser.get(path).context["version"]
        switch.pause(ada, "The storage is moved")
        again = browser.get(f"{path}?v={version}", headers={"HX-Request": "true"})
        assert TOLD in again.content.decode()
        switch.resume(ada)


def test_nobody_is_told_while_it_runs(client_of: ClientOf, alice: User, ada: User) -> None:
    world.making(alice)
    assert not _says(client_of(alice), "/")
    assert not _says(client_of(ada), "/operate")
