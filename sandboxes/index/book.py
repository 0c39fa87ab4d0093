"""The policy that holds now, in memory, and how every index process learns of a change.

Each write to a table of policy counts on its row in `index_epoch` and notifies (triggers). This process
asks for those numbers when it is notified, and every `_PERIOD` seconds anyway; when they differ from
those of its edition it reads what changed again. The numbers are read first: what is read after can
only be newer than they say, and is then read once more.

Confirmed longer than `_STALE` seconds ago, an edition decides nothing: a deny entry or an end that did
not arrive must not leave files open.
"""

import asyncio
import logging
from collections.abc import Hashable
from dataclasses import dataclass
from time import monotonic

from sandboxes.errors import InvalidInputError
from sandboxes.index import rulebook
from sandboxes.index.database import Database
from sandboxes.index.errors import UnavailableError
from sandboxes.index.listener import Listener
from sandboxes.index.once import Once
from sandboxes.index.rulebook import Rulebook
from sandboxes.screening import lookup
from sandboxes.screening.standing import Standing

logger = logging.getLogger(__name__)

_PERIOD = 2.0  # seconds
_STALE = 10.0  # seconds; a change is to hold everywhere within 5, so twice that is a fault

_EPOCHS = "SELECT topic, number FROM index_epoch ORDER BY topic"

_VERDICTS_TABLE = "screening_verdict"
_ADVICE_TABLES = ("screening_advisory", "screening_affected")


@dataclass(frozen=True, slots=True)
class Edition:
    """All that decisions rest on, as of one moment; of the advisories, which are many, only a name for their state."""

    rules: Rulebook
    advice: Hashable
    verdicts: dict[str, Standing]  # by sha256: bytes that are held or blocked under some name
    verdicts_key: Hashable  # which of those; what passed changes nothing that a page shows


class Book:
    def __init__(self, database: Database, listener: Listener) -> None:
        self._database = database
        self._listener = listener
        self._reading: Once[None, Edition] = Once()
        self._edition: Edition | None = None
        self._verdicts_number: Hashable = None  # of their table, when the edition's verdicts were read
        self._confirmed = 0.0  # on `monotonic`'s clock; when what confirmed it was asked for
        self._keeping: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._reading.close()
        await self._listener.close()

    async def current(self) -> Edition:
        """Raises `UnavailableError` when nobody knows what holds."""
        edition = self.confirmed
        return edition if edition is not None else await self._reading.do(None, self._refresh)

    @property
    def confirmed(self) -> Edition | None:
        """What `current` would return without asking anybody; None if it would have to."""
        return self._edition if monotonic() - self._confirmed <= _STALE else None

    async def _keep(self) -> None:
        while True:
            try:
                await self._reading.do(None, self._refresh)
            except UnavailableError as error:  # said in full where it came from
                logger.warning("policy is not read: %s", error)
            await self._listener.wait(_PERIOD)

    async def _refresh(self) -> Edition:
        asked = monotonic()
        numbers = {row["topic"]: row["number"] for row in await self._database.rows(_EPOCHS, {})}
        edition = await self._newer(numbers)
        self._edition, self._confirmed = edition, asked
        return edition

    async def _newer(self, numbers: dict[str, int]) -> Edition:
        """The edition of these numbers; what did not change is taken over."""
        was = self._edition
        policy = tuple(item for item in numbers.items() if item[0].startswith("index_"))
        advice = tuple(numbers.get(table) for table in _ADVICE_TABLES)
        rules = was.rules if was and was.rules.edition == policy else await self._read(policy)
        verdicts, verdicts_key = await self._verdicts(was, numbers.get(_VERDICTS_TABLE))
        edition = Edition(rules, advice, verdicts, verdicts_key)
        return was if was == edition else edition  # the same object as long as it says the same

    async def _verdicts(self, was: Edition | None, number: Hashable) -> tuple[dict[str, Standing], Hashable]:
        """With a key that stays while they do: of each file that passes a row is written too."""
        if was is not None and self._verdicts_number == number:
            return was.verdicts, was.verdicts_key
        verdicts = lookup.standings(await self._database.rows(lookup.AGAINST, {}))
        self._verdicts_number = number
        if was is not None and was.verdicts == verdicts:
            return was.verdicts, was.verdicts_key
        return verdicts, number

    async def _read(self, edition: Hashable) -> Rulebook:
        logger.info("policy is read anew")
        try:
            return Rulebook(
                edition,
                await self._database.rows(rulebook.SETTINGS, {}),
                await self._database.rows(rulebook.ENTRIES, {}),
                await self._database.rows(rulebook.WAIVERS, {}),
            )
        except (InvalidInputError, ValueError) as error:
            logger.error("policy cannot be read: %s", error)
            raise UnavailableError("The index's policy cannot be read; its log says why.") from error
