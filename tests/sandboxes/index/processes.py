"""The index as processes of their own, beside the one in this process."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp

from tests.sandboxes.index.conftest import Reply

PATIENCE = 20.0  # seconds
NOWHERE = "postgresql://nobody@127.0.0.1:9/none"


async def start(
    folder: Path, upstream: str, database: str, port: int, *before: str
) -> asyncio.subprocess.Process:
    """`before`: what to start it through."""
    return await asyncio.create_subprocess_exec(
        *before,
        sys.executable,
        "-m",
        "sandboxes.index",
        env=os.environ
        | {
            "DATABASE_URL": database,
            "INDEX_UPSTREAM": upstream,
            "INDEX_PORT": str(port),
            "DATA_DIR": str(folder),
        },
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


def kill(process: asyncio.subprocess.Process) -> None:
    """With its workers: as the power would, or a supervisor that has no patience left."""
    os.killpg(process.pid, signal.SIGKILL)


async def get(url: str, **headers: str) -> Reply:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return Reply(answer.status, answer.reason or "", answer.headers, await answer.read())


async def when_up(url: str) -> Reply:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await get(f"{url}/healthz")
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)
