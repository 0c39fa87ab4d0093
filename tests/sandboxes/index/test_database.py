"""How the index's connections are set."""

import pytest

from sandboxes.index.database import Database
from tests.sandboxes.index.conftest import database_url


@pytest.mark.django_db
async def test_a_commit_is_on_disk_whatever_the_server_is_set_to() -> None:
    """What is recorded before the first byte must not be lost in a crash; each server and role may say otherwise."""
    loose = f"{database_url()}&options=-c%20synchronous_commit%3Doff"
    database = Database(loose)
    await database.open()
    try:
        for setting, value in (("synchronous_commit", "on"), ("statement_timeout", "10s")):
            assert await database.row(f"SHOW {setting}", {}) == {setting: value}
    finally:
        await database.close()
