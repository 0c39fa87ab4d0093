"""What changes people. Services are verbs, take the acting person, and write the ledger."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from portal.accounts.models import User
from portal.accounts.permissions import Permission, Role
from sandboxes.audit.services import record
from sandboxes.errors import ConflictError, InvalidInputError, RefusedError
from sandboxes.lifecycle.isolation import isolate_all_of


def add_person(
    *,
    username: str,
    role: Role = Role.EMPLOYEE,
    display_name: str = "",
    department: str = "",
    email: str = "",
    password: str | None = None,
    by: User | None,
) -> User:
    """A local account. `by` None: somebody at the command line. Without a password nobody can sign in with one."""
    _must_manage(by)
    person = User(username=username, role=role, display_name=display_name, department=department, email=email)
    _set_password(person, password)
    try:
        person.clean_fields()
    except ValidationError as error:
        raise InvalidInputError(_sentence(error)) from error
    try:
        with transaction.atomic():
            person.save()
            record(actor=by, action="person.added", subject=f"person:{person.pk}", data=_as_data(person))
    except IntegrityError as error:
        raise ConflictError(f"There is a person named {username} already.") from error
    return person


def change_role(person: User, role: Role, *, by: User | None) -> None:
    """Nobody changes their own role, so an admin cannot be the last one by mistake. `by` None: the command line."""
    _must_manage(by)
    if by is not None and by.pk == person.pk:
        raise RefusedError("Nobody changes their own role; ask another admin.")
    with transaction.atomic():
        before = User.objects.select_for_update().values_list("role", flat=True).get(pk=person.pk)
        if before == role:
            return
        User.objects.filter(pk=person.pk).update(role=role)
        data = {"username": person.username, "from": before, "to": role}
        record(actor=by, action="person.role_changed", subject=f"person:{person.pk}", data=data)
    person.role = role


def set_active(person: User, active: bool, *, by: User | None) -> None:
    """Disabling ends sessions and tokens at once (both are checked against the row), and isolates all sandboxes.

    What they had open is kept for whoever has to look; what never opened ends. Enabling again
    releases nothing: an approver does that, one by one. Nobody disables themselves.
    """
    _must_manage(by)
    if by is not None and by.pk == person.pk:
        raise RefusedError("Nobody disables their own account; ask another admin.")
    with transaction.atomic():
        changed = User.objects.filter(pk=person.pk, is_active=not active).update(is_active=active)
        if not changed:
            return
        action = "person.enabled" if active else "person.disabled"
        if not active:
            isolate_all_of(person.pk, by=by)
        record(actor=by, action=action, subject=f"person:{person.pk}", data={"username": person.username})
    person.is_active = active


def _must_manage(by: User | None) -> None:
    if by is not None and not by.may(Permission.MANAGE):
        raise RefusedError("Only an admin manages people.")


def _set_password(person: User, password: str | None) -> None:
    try:
        if password is not None:
            validate_password(password, person)
    except ValidationError as error:
        raise InvalidInputError(_sentence(error)) from error
    person.set_password(password)


def _sentence(error: ValidationError) -> str:
    return " ".join(error.messages)


def _as_data(person: User) -> dict[str, str]:
    return {"username": person.username, "role": person.role, "department": person.department}
