"""Tarballs are screened by what they are: a job names the sha256, the storage the integrity."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.refusing import ago
from tests.sandboxes.index.screening.conftest import Start, jobs, start, verdict

__all__ = ["start"]  # a fixture


@pytest.fixture
def floor() -> dict[str, Any]:
    return {"screened": True}


async def test_a_tarball_is_screened_and_given(index: Index, demo: Tarball, start: Start) -> None:
    await start()
    assert (await index.ask(demo.path)).body == demo.data
    found = await verdict(index, demo.sha256)
    assert (found["state"], found["ecosystem"], found["project"]) == ("passed", "npm", "demo")
    assert found["broken"] == ""
    assert await jobs(index) == []


@pytest.mark.usefixtures("clear_screening")
async def test_what_its_packument_says_goes_along(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    late = make_tarball(version="1.1.0")
    registry.add(late, published=ago(timedelta(days=30)))
    asking = asyncio.create_task(index.ask(late.path))

    async def wanted() -> bool:
        return bool(await jobs(index))

    await until(wanted)
    asking.cancel()
    [job] = await jobs(index)
    facts = job["facts"]
    assert (job["sha256"], job["urgent"]) == (late.sha256, True)
    assert (facts["project"], facts["version"], facts["former_version"]) == ("demo", "1.1.0", "1.0.0")
    assert (facts["releases"], facts["project_since"] < facts["uploaded_at"]) == (2, True)
