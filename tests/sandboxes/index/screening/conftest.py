"""The screening process beside a running index: the real one, with the same database and folder."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sandboxes.index.conftest import Index, database_url
from tests.sandboxes.index.patience import until

type Screening = asyncio.subprocess.Process
type Start = Callable[..., Awaitable[Screening]]


@pytest.fixture
def floor() -> dict[str, Any]:
    return {"screened": True}


@pytest.fixture
async def start(index: Index, clear_screening: None, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts one and waits until it is at work. `data`: its DATA_DIR; else the running index's."""
    started: list[Screening] = []

    async def begin(data: Path | None = None, **settings: str) -> Screening:
        ready = tmp_path / f"ready-{len(started)}"
        folder = data or index.folder.parent
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandboxes.index.screening", str(ready)),
            env=os.environ
            | {"DATABASE_URL": database_url(), "DATA_DIR": str(folder), "SCREENING_PROCESSES": "2"}
            | settings,
            start_new_session=True,
        )
        started.append(process)
        await until(lambda: ready.exists() or process.returncode is not None)
        assert process.returncode is None
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def verdict(index: Index, sha256: str) -> dict[str, Any]:
    """Once it is there."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await index.rows(
            "SELECT * FROM screening_verdict WHERE sha256 = %(sha256)s", sha256=sha256
        )
        return bool(found)

    await until(there)
    return found[0]


async def jobs(index: Index) -> list[dict[str, Any]]:
    return list(await index.rows("SELECT * FROM screening_job ORDER BY sha256"))
