"""Which files wait for a person, and which sandboxes wait for them."""

from datetime import timedelta

import pytest

from portal.accounts.models import User
from sandboxes.screening import deciding, held
from sandboxes.screening.words import Screening
from sandboxes.usage.models import Fetch
from tests.portal.web import world

pytestmark = pytest.mark.django_db


def test_the_longest_waiting_comes_first_and_what_is_decided_not_at_all(iris: User) -> None:
    young, old = world.held("young"), world.held("old", ago=timedelta(hours=3))
    world.held("fine", state="passed")
    deciding.block(world.held("gone").sha256, iris, "Bad")
    assert list(held.waiting()) == [old, young]
    assert list(held.waiting("YOUN")) == [young]
    assert list(held.waiting(old.sha256)) == [old]
    assert [row.project for row in held.decided()] == ["gone"]


def test_by_state_page_by_page() -> None:
    rows = [world.held(f"p{number}", ago=timedelta(minutes=number)) for number in range(3)]
    assert list(held.in_state(Screening.HELD)) == rows
    assert list(held.in_state(Screening.HELD, rows[0])) == rows[1:]


def test_who_waits(alice: User, bob: User) -> None:
    row, other = world.held(), world.held("other")
    asked, read, gone, done = (world.ready(person) for person in (alice, bob, alice, bob))
    world.refused(asked, row)
    world.refused(asked, row)
    world.refused(done, row, ago=held.RECENT + timedelta(days=1))
    world.refused(gone, row)
    world.over(gone)
    Fetch.objects.create(
        sandbox=read, kind="page", project="evil", withheld="2.0", withheld_by="held", client="uv"
    )
    Fetch.objects.create(sandbox=read, kind="page", project="other", withheld="2.0", withheld_by="cooldown")
    Fetch.objects.create(sandbox=read, kind="file", project="strange", filename=row.filename, refused="held")
    assert held.who_waits([row, other]) == {row.sha256: [asked, read], other.sha256: []}
