"""Adding people, changing roles, disabling: who may, and what the ledger says."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.accounts.services import add_person, change_role, set_active
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, RefusedError


def _actions(person: User) -> list[str]:
    return list(
        Entry.objects.filter(subject=f"person:{person.pk}").order_by("id").values_list("action", flat=True)
    )


def test_an_admin_adds_a_person(ada: User) -> None:
    person = add_person(username="carol", department="Legal", by=ada)

    assert (person.role, person.department) == (Role.EMPLOYEE, "Legal")
    assert not person.has_usable_password()
    assert _actions(person) == ["person.added"]


def test_a_username_is_given_once(ada: User, alice: User) -> None:
    with pytest.raises(ConflictError):
        add_person(username=alice.username, by=ada)


@pytest.mark.parametrize(
    ("username", "password"), [("", None), ("a b", None), ("carol", "short"), ("carol", "carol")]
)
def test_names_and_passwords_are_checked(ada: User, username: str, password: str | None) -> None:
    with pytest.raises(InvalidInputError):
        add_person(username=username, password=password, by=ada)
    assert not User.objects.filter(username=username).exists()


def test_an_admin_changes_a_role_and_the_ledger_says_from_what_to_what(ada: User, alice: User) -> None:
    change_role(alice, Role.APPROVER, by=ada)
    change_role(alice, Role.APPROVER, by=ada)

    alice.refresh_from_db()
    assert alice.role == Role.APPROVER
    entry = Entry.objects.get(subject=f"person:{alice.pk}")
    assert (entry.action, entry.actor_id) == ("person.role_changed", ada.pk)
    assert entry.data == {"username": "alice", "from": "employee", "to": "approver"}


def test_nobody_changes_their_own_role_or_disables_themselves(ada: User) -> None:
    with pytest.raises(RefusedError):
        change_role(ada, Role.EMPLOYEE, by=ada)
    with pytest.raises(RefusedError):
        set_active(ada, False, by=ada)


@pytest.mark.parametrize("who", ["bob", "iris", "omar"])
def test_only_an_admin_manages_people(alice: User, who: str, request: pytest.FixtureRequest) -> None:
    other: User = request.getfixturevalue(who)
    with pytest.raises(RefusedError):
        change_role(alice, Role.ADMIN, by=other)
    with pytest.raises(RefusedError):
        set_active(alice, False, by=other)
    with pytest.raises(RefusedError):
        add_person(username="carol", by=other)


def test_disabling_and_enabling(ada: User, alice: User) -> None:
    set_active(alice, False, by=ada)
    set_active(alice, False, by=ada)
    set_active(alice, True, by=ada)

    assert _actions(alice) == ["person.disabled", "person.enabled"]


def test_the_first_admin_comes_from_the_command_line(db: None) -> None:
    out = StringIO()
    call_command("person", "root", "--role", "admin", stdout=out)

    person = User.objects.get(username="root")
    assert person.role == Role.ADMIN
    assert out.getvalue() == "root: admin.\n"
    assert _actions(person) == ["person.added", "person.role_changed"]


def test_the_command_line_disables(alice: User) -> None:
    call_command("person", "alice", "--disable", stdout=StringIO())

    alice.refresh_from_db()
    assert not alice.is_active
    with pytest.raises(CommandError):
        call_command("person", "alice", "--disable", "--enable")


@pytest.mark.parametrize("option", ["--disable", "--enable"])
def test_the_command_line_makes_nobody_to_disable_them(db: None, option: str) -> None:
    with pytest.raises(CommandError, match="There is no person named alcie"):
        call_command("person", "alcie", option, stdout=StringIO())

    assert not User.objects.exists()
