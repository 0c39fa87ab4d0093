"""What a person has to look at, as a row: the index has no key to the ledger, so the worker makes it an alarm."""

import logging
from time import monotonic

from sandboxes.index.database import Database
from sandboxes.index.errors import UnavailableError

logger = logging.getLogger(__name__)

_AGAIN = 60.0  # seconds until the same trouble is written down again

_TELL = """
INSERT INTO index_trouble (kind, message, last_at, untold) VALUES (%(kind)s, %(message)s, now(), true)
ON CONFLICT (kind) DO UPDATE SET message = excluded.message, last_at = now(), untold = true"""


class Troubles:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._told: dict[str, float] = {}

    async def tell(self, kind: str, message: str) -> None:
        """Never raises: it is told while something else is at stake. `kind` is the alarm's."""
        if monotonic() - self._told.get(kind, float("-inf")) < _AGAIN:
            return
        self._told[kind] = monotonic()
        logger.error("%s", message)
        try:
            await self._database.rows(_TELL, {"kind": kind, "message": message})
        except UnavailableError:
            self._told.pop(kind)
