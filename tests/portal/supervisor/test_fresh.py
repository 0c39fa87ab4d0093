"""Whether the last preparation still holds: any doubt prepares again."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection as django_connection

from portal.accounts import demo
from portal.accounts.models import ApiToken, User
from portal.env import Environment
from portal.supervisor import fresh

pytestmark = pytest.mark.django_db


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """As `prepare` leaves it."""
    environment = replace(settings.ENV, data_dir=tmp_path)
    (tmp_path / "static").mkdir()
    demo.seed(environment)
    return environment


@pytest.fixture
def connection(environment: Environment) -> psycopg.Connection:
    """The test's own, so that it sees what the test has not committed."""
    with django_connection.cursor():
        raw = django_connection.connection
    assert isinstance(raw, psycopg.Connection)
    fresh.note_prepared(environment, raw)
    return raw


def test_what_was_noted_holds(environment: Environment, connection: psycopg.Connection) -> None:
    assert fresh.is_prepared(environment, connection)


def test_nothing_noted(environment: Environment, connection: psycopg.Connection) -> None:
    (environment.data_dir / "run" / "prepared").unlink()
    assert not fresh.is_prepared(environment, connection)


@pytest.mark.parametrize("broken", ["", "[]", "{}"])
def test_a_broken_note(environment: Environment, connection: psycopg.Connection, broken: str) -> None:
    (environment.data_dir / "run" / "prepared").write_text(broken)
    assert not fresh.is_prepared(environment, connection)


def test_another_database(environment: Environment, connection: psycopg.Connection) -> None:
    connection.execute("DELETE FROM django_migrations WHERE app = 'accounts'")
    assert not fresh.is_prepared(environment, connection)


def test_static_files_are_gone(environment: Environment, connection: psycopg.Connection) -> None:
    (environment.data_dir / "static").rmdir()
    assert not fresh.is_prepared(environment, connection)


def test_demo_json_was_changed_or_is_gone(environment: Environment, connection: psycopg.Connection) -> None:
    file = environment.data_dir / "demo.json"
    file.write_text(file.read_text().replace("alice", "alicia"))
    assert not fresh.is_prepared(environment, connection)
    file.unlink()
    assert not fresh.is_prepared(environment, connection)


def test_a_demo_token_stopped_working(environment: Environment, connection: psycopg.Connection) -> None:
    ApiToken.objects.filter(user__username="bob").delete()
    assert not fresh.is_prepared(environment, connection)


def test_a_demo_person_was_disabled(environment: Environment, connection: psycopg.Connection) -> None:
    User.objects.filter(username="bob").update(is_active=False)
    assert not fresh.is_prepared(environment, connection)


def test_the_code_has_changed(
    environment: Environment, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "_PACKAGES", ("pyproject.toml", "Makefile"))
    assert not fresh.is_prepared(environment, connection)
