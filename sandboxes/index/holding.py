"""How far a download has to be before an answer begins, and what is on hold: fetched, and given to nobody."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sandboxes.index.flight import Flight

# Bytes up to which a file is whole before its answer begins: bad bytes, or a refusal by their sha256, are then
# an error that can be read, not a cut connection.
_WHOLE_FIRST: Final = 256 * 1024

type Present = Callable[[], bool]  # whether the client is still there


def is_small(flight: Flight) -> bool:
    """Of one that is opened. What does not say its length is taken for small."""
    return flight.length is None or flight.length <= _WHOLE_FIRST


async def far_enough(flight: Flight, present: Present, *, stored: bool) -> None:
    """Returns when an answer may begin. `stored`: it is read from the store, and not while the file arrives."""
    await flight.opened(present)
    if stored:
        await flight.kept(present)
    elif is_small(flight):
        await flight.verified(present)


type Want = Callable[[], Coroutine[Any, Any, None]]  # has a file that is stored screened


async def on_hold(
    verdict: Coroutine[Any, Any, None], flight: Flight | None, present: Present, want: Want
) -> None:
    """Waits for the verdict while the file is fetched, so there is something to screen; none of it is given away."""
    waiting = [asyncio.create_task(verdict), asyncio.create_task(_wanted(flight, present, want))]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _wanted(flight: Flight | None, present: Present, want: Want) -> None:
    if flight is not None:  # who waits for the verdict follows the download too, or it would be forsaken
        await flight.kept(present)
    await want()
