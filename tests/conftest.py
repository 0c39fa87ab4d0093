"""The fixed cast, and how they sign in. The environment itself is made in `tests/plugin.py`."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker

from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.approvals.models import Rule
from sandboxes.index.models import PolicySetting
from sandboxes.lifecycle import claims
from sandboxes.lifecycle.models import Sandbox

# How long an example takes says how busy the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Tests that commit are cleaned up with TRUNCATE, which the ledger's trigger refuses (its own test turns it on)."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_table")
        unscreened_floor()
    yield
    claims.leave()  # the worker's own connection would keep the database from being dropped


@pytest.fixture(autouse=True)
def default_rules(request: pytest.FixtureRequest) -> None:
    """The clean-up of a test that commits takes the rules that a migration had written."""
    marker = request.node.get_closest_marker("django_db")
    if marker and marker.kwargs.get("transaction"):
        request.getfixturevalue("_django_db_helper")
        if not Rule.objects.exists():
            import_module("portal.approvals.migrations.0002_default_rules").add_defaults(apps, None)
        unscreened_floor()


def unscreened_floor() -> None:
    """The installation's floor as a new one has it, but that nothing is screened: only tests of screening do that."""
    import_module("sandboxes.index.migrations.0003_floor_and_epochs").add_floor(apps, None)
    PolicySetting.objects.filter(profile="").update(screened=False)


def _person(username: str, role: Role, department: str, manager: User | None = None) -> User:
    return User.objects.create_user(
        username,
        email=f"{username}@example.com",
        display_name=username.capitalize(),
        department=department,
        manager=manager,
        role=role,
    )


@pytest.fixture
def ada(db: None) -> User:
    """The admin."""
    return _person("ada", Role.ADMIN, "IT")


@pytest.fixture
def iris(db: None) -> User:
    """An approver."""
    return _person("iris", Role.APPROVER, "IT")


@pytest.fixture
def igor(db: None) -> User:
    """The other approver."""
    return _person("igor", Role.APPROVER, "IT")


@pytest.fixture
def omar(db: None) -> User:
    """The auditor."""
    return _person("omar", Role.AUDITOR, "Security")


@pytest.fixture
def alice(db: None, iris: User) -> User:
    """An employee; iris is her manager."""
    return _person("alice", Role.EMPLOYEE, "Research", iris)


@pytest.fixture
def bob(db: None) -> User:
    """An employee of another department."""
    return _person("bob", Role.EMPLOYEE, "Sales")


@pytest.fixture
def client_of(db: None) -> Callable[[User], Client]:
    """A browser in which the given person is signed in."""

    def signed_in(person: User) -> Client:
        client = Client()
        client.force_login(person)
        return client

    return signed_in


@pytest.fixture
def mine(alice: User) -> Sandbox:
    """A sandbox of alice's in a cluster called east, as logs name it: `sbx-mine`."""
    return Sandbox.objects.create(
        name="mine",
        namespace="sbx-mine",
        cluster="east",
        owner=alice,
        profile="python",
        data_class="public",
        lease=timedelta(days=1),
    )
