"""/healthz and /readyz, open to all."""

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from portal.api import health


@pytest.fixture(autouse=True)
def _unread() -> None:
    health._check_migrations.cache_clear()


def test_alive_asks_nothing_of_the_database() -> None:
    response = Client().get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready(db: None) -> None:
    response = Client().get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert Client().get("/readyz").status_code == 200
    assert Client().post("/readyz").status_code == 405


def test_not_ready_while_a_migration_waits(db: None) -> None:
    MigrationRecorder.Migration.objects.filter(app="usage").delete()
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert "migration" in response.json()["reason"]


def test_not_ready_without_the_database(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("no route to the secret host")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        response = Client().get("/readyz")
    assert response.status_code == 503
    assert "secret" not in response.content.decode()
