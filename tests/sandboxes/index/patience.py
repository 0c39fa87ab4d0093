"""Waiting for what comes by itself, and reading answers that are cut."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

import aiohttp
import pytest

_EVERY = 0.02  # seconds
_MOST = 60.0


async def until(reached: Callable[[], bool | Awaitable[bool]]) -> None:
    for _ in range(int(_MOST / _EVERY)):
        found = reached()
        if await found if isawaitable(found) else found:
            return
        await asyncio.sleep(_EVERY)
    pytest.fail("waited in vain")


async def read_until_cut(answer: aiohttp.ClientResponse) -> int:
    """How many bytes came before the connection broke; an answer that is complete fails the test."""
    had = 0
    try:
        async for chunk in answer.content.iter_any():
            had += len(chunk)
    except aiohttp.ClientError:
        return had
    pytest.fail(f"the answer was complete after {had} bytes")
