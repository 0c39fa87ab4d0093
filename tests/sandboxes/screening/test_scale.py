"""The scale: as it is, changed with what differed in the ledger, and back again."""

from dataclasses import replace

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.errors import InvalidInputError
from sandboxes.screening import scale, scoring
from sandboxes.screening.findings import Ability, Threat
from sandboxes.screening.models import Scale
from tests.portal.web import world

pytestmark = pytest.mark.django_db


def _with(ability: Ability, threat: Threat, points: int, **changes: int) -> scoring.Scale:
    table = {one: dict(row) for one, row in scoring.DEFAULT.points.items()}
    table[ability][threat] = points
    return replace(scoring.DEFAULT, points=table, **changes)


def test_changed_and_restored(ada: User) -> None:
    assert scale.current() == scoring.DEFAULT
    new = _with(Ability.NETWORK, Threat.CRITICAL, 150, hold=120)
    assert scale.change(new, by=ada, reason="Too many")
    assert scale.current() == new
    entry = Entry.objects.get(action="scale.changed")
    assert entry.data == {
        "reason": "Too many",
        "changed": {"hold": [100, 120], "network/critical": [100, 150]},
    }
    assert not scale.change(new, by=ada, reason="Again")
    assert scale.restore(by=ada, reason="It was right")
    assert scale.current() == scoring.DEFAULT
    assert Entry.objects.get(action="scale.restored").data["changed"]["hold"] == [120, 100]
    assert not scale.restore(by=ada, reason="Again")


def test_what_makes_no_scale_changes_nothing(ada: User) -> None:
    for wrong in (replace(scoring.DEFAULT, note=1000), _with(Ability.NETWORK, Threat.LOW, -1)):
        with pytest.raises(InvalidInputError):
            scale.change(wrong, by=ada, reason="Why")
    with pytest.raises(InvalidInputError, match="why"):
        scale.change(replace(scoring.DEFAULT, hold=120), by=ada, reason=" ")
    assert not Scale.objects.exists()
    assert not Entry.objects.filter(subject="screening").exists()


def test_an_ability_that_the_row_does_not_know_has_its_usual_points(ada: User) -> None:
    scale.change(replace(scoring.DEFAULT, hold=120), by=ada, reason="Why")
    row = Scale.objects.get()
    del row.points["identity"]
    row.save()
    assert scale.current() == replace(scoring.DEFAULT, hold=120)


def test_how_many_held_files_it_frees(ada: User) -> None:
    world.held("one")
    world.held("two", findings=[world.FOUND, {**world.FOUND, "ability": "secrets"}])
    world.held("broken", findings=[], broken="It is a bomb")
    world.held("odd", findings=[{"rule": "of another age"}])
    world.held("decided", state="passed", decision="released")
    found = scale.effect(replace(scoring.DEFAULT, hold=150))
    assert (found.held, found.freed, found.graver, found.milder) == (4, 1, 0, 0)
    found = scale.effect(_with(Ability.SECRETS, Threat.CRITICAL, 200))
    assert (found.freed, found.graver, found.milder) == (0, 1, 0)
