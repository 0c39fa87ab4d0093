"""The demo people of an installation that is no production.

Their passwords are random for each installation and written to `demo.json`
(mode 600) in the data folder, with an API token each, so that a person, a
script or a test can sign in as any of them. The file is read back at every
start: what it says stays true as long as its tokens still work, and a token
that does not (another database, expired, revoked) is made anew.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from portal import private
from portal.accounts import tokens
from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.accounts.services import add_person
from portal.env import Environment
from sandboxes.errors import RefusedError

TOKEN_LASTS = timedelta(days=366)


class Login(TypedDict):
    """One entry of `demo.json`."""

    username: str
    password: str
    role: str
    token: str


@dataclass(frozen=True)
class _Person:
    username: str
    display_name: str
    role: Role
    department: str
    manager: str = ""


# Managers come before those they manage.
PEOPLE = (
    _Person("ada", "Ada Admin", Role.ADMIN, "IT"),
    _Person("iris", "Iris Approver", Role.APPROVER, "IT", "ada"),
    _Person("igor", "Igor Approver", Role.APPROVER, "IT", "ada"),
    _Person("omar", "Omar Auditor", Role.AUDITOR, "Security", "ada"),
    _Person("alice", "Alice Employee", Role.EMPLOYEE, "Research", "iris"),
    _Person("bob", "Bob Employee", Role.EMPLOYEE, "Sales", "iris"),
)


def seed(environment: Environment) -> list[Login]:
    """Makes the demo people who are missing, and a `demo.json` that is true; returns what it says."""
    if environment.production:
        raise RefusedError("Demo people have passwords on disk; production has none.")
    path = logins_file(environment)
    known = {login["username"]: login for login in read(path)}
    logins = [_true_login(person, known.get(person.username)) for person in PEOPLE]
    if logins != list(known.values()):
        private.write(path, json.dumps(logins, indent=2) + "\n")
    return logins


def logins_file(environment: Environment) -> Path:
    return environment.data_dir / "demo.json"


def read(path: Path) -> list[Login]:
    """What the file says; nothing when there is none, or when somebody broke it."""
    try:
        logins: list[Login] = json.loads(path.read_text())
        return [login for login in logins if login.keys() == Login.__annotations__.keys()]
    except (FileNotFoundError, ValueError, AttributeError):
        return []


def _true_login(person: _Person, known: Login | None) -> Login:
    user = User.objects.filter(username=person.username).first()
    if user and known and tokens.authenticate(known["token"]) == user:
        return known | {"role": user.role}
    password = known["password"] if known else secrets.token_urlsafe(12)
    user = _with_password(user, person, password)
    _, token = tokens.issue(user=user, name="demo.json", expires_in=TOKEN_LASTS, by=None)
    return {"username": user.username, "password": password, "role": user.role, "token": token}


def _with_password(user: User | None, person: _Person, password: str) -> User:
    if user is not None:
        user.set_password(password)
        user.save(update_fields=["password"])
        return user
    user = add_person(
        username=person.username,
        role=person.role,
        display_name=person.display_name,
        department=person.department,
        email=f"{person.username}@example.com",
        password=password,
        by=None,
    )
    user.manager = User.objects.filter(username=person.manager).first()
    user.save(update_fields=["manager"])
    return user
