"""The patterns that scans go by, followed while they change: new ones count within a minute, for old files too.

Every `_LOOK` seconds the admin's folder is looked at. Once it changed, scanners are started anew (each reads the
rules when it starts) and what older rules scanned is scanned again (`again.py`). Rules that cannot be compiled at
all, in time or in memory, are left out altogether, and ours hold; single files that are wrong are left out by
themselves.

The lists of popular names are followed with them: a refreshed one is another set of rules.

Places may have different folders, by mistake or while one is brought up to date. Each says in the database what it
has and since when; of different rules those count that changed last, and nobody scans again what newer rules
scanned. A place that was not heard of for a while has no say.
"""

import asyncio
import json
import logging
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from sandboxes.index.database import Database
from sandboxes.index.errors import UnavailableError
from sandboxes.screening import environment, popular
from sandboxes.screening.detectors import patterns
from sandboxes.screening.detectors.telling import State
from sandboxes.screening.scanner import Scanners
from sandboxes.screening.words import HEARD_OF

logger = logging.getLogger(__name__)

_LOOK: Final = 15.0  # seconds
_LONGEST: Final = 60.0  # seconds that compiling may take, which every scanner does when it starts
_ANEW: Final = 600.0  # seconds until rules that could not be compiled are tried once more
_ROOT: Final = Path(__file__).resolve().parents[3]


def heard_of(table: str = "screening_rules") -> str:
    """Whether such a place lives, as SQL."""
    return f"{table}.seen_at >= now() - interval '{HEARD_OF.total_seconds():.0f} seconds'"


_SAY: Final = f"""
WITH gone AS (DELETE FROM screening_rules WHERE NOT {heard_of()} AND place <> %(place)s)
INSERT INTO screening_rules AS mine (place, digest, changed_at, seen_at, folder, ours, added, problems)
VALUES (%(place)s, %(digest)s,
    COALESCE((SELECT min(changed_at) FROM screening_rules
              WHERE digest = %(digest)s AND {heard_of()}), now()),
    now(), %(folder)s, %(ours)s, %(added)s, %(problems)s::jsonb)
ON CONFLICT (place) DO UPDATE SET
    digest = excluded.digest, seen_at = now(), folder = excluded.folder, ours = excluded.ours, added = excluded.added,
    problems = excluded.problems,
    changed_at = CASE WHEN mine.digest = excluded.digest THEN mine.changed_at ELSE now() END"""  # noqa: S608


class Rules:
    def __init__(self, database: Database, scanners: Scanners, folder: Path | None) -> None:
        """`folder`: the admin's."""
        self._database = database
        self._scanners = scanners
        self._folder = folder
        self._stamp: tuple[object, ...] = ()
        self._state: State | None = None
        self._said = False
        self._until = inf  # on `monotonic`'s clock: so long the folder need not be read anew, as it is
        self.place = socket.gethostname() + (f":{folder}" if folder else "")

    @property
    def digest(self) -> str:
        """Of what scanners go by; empty: nothing was looked at yet."""
        return self._state.digest if self._state else ""

    @property
    def known(self) -> bool:
        """Whether everybody can know what this place has."""
        return self._said

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            await self.look()

    async def look(self) -> None:
        """Never raises: what is wrong is said, and the rules of before hold on."""
        stamp = await asyncio.to_thread(_stamp, self._folder)
        if self._state is None or stamp != self._stamp or monotonic() > self._until:
            try:
                self._state = await self._changed()
            except OSError as error:
                logger.error("YARA rules: nobody can be started to compile them: %s", error)
                return
            self._stamp, self._said = stamp, False
        with suppress(UnavailableError):  # said where it came from; the next look says it again
            await self._database.rows(_SAY, self._values(self._state))
            self._said = True

    async def _changed(self) -> State:
        state = await told()
        usable = state is not None
        self._until = inf if usable else monotonic() + _ANEW
        if state is None:
            state = await told(without=True) or State("", 0, 0)
            why = "these rules cannot be compiled in time or in memory; all of them are left out"
            state = msgspec.structs.replace(state, problems=(patterns.Problem(str(self._folder), 0, why),))
        for problem in state.problems:
            logger.warning("YARA rules left out: %s", problem)
        await self._scanners.renew(added=usable)
        logger.info("%d rules, %d of them added, as %s", state.ours + state.added, state.added, state.digest)
        return state

    def _values(self, state: State) -> dict[str, Any]:
        return {
            "place": self.place,
            "digest": state.digest,
            "folder": str(self._folder or ""),
            "ours": state.ours,
            "added": state.added,
            "problems": json.dumps(msgspec.to_builtins(state.problems)),
        }


def _stamp(folder: Path | None) -> tuple[object, ...]:
    """Changes whenever what scans go by does: patterns, and lists of popular names."""
    return patterns.stamp(folder), popular.stamp()


async def told(*, without: bool = False) -> State | None:
    """What rules there are, by a process of its own; None: it did not come to say. `without`: the admin's."""
    environ = {name: value for name, value in os.environ.items() if name != environment.RULES or not without}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "ignore", "-m", "sandboxes.screening.detectors.telling"),
        stdin=DEVNULL,
        stdout=PIPE,
        cwd=_ROOT,
        env=environ,
    )
    try:
        async with asyncio.timeout(_LONGEST):
            output, _ = await process.communicate()
        return msgspec.json.decode(output, type=State)
    except TimeoutError:
        logger.error("YARA rules: compiling them took longer than %s s", _LONGEST)
    except msgspec.MsgspecError:
        logger.error("YARA rules: who compiles them ended with %s", process.returncode)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return None
