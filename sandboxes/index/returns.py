"""How often a sandbox asked in vain for a file that is on hold: by the record, which all processes share.

Each of those requests is a row when it is answered. They are looked for among the sandbox's newest rows only, so the
look costs the same however long it has been asking.
"""

from typing import Final

from sandboxes.index import budget
from sandboxes.index.candidates import Stated
from sandboxes.index.database import Database
from sandboxes.index.lru import Lru
from sandboxes.index.policy.facts import Ecosystem

_ASKED: Final = """
SELECT count(*) AS times FROM (
    SELECT at, kind, ecosystem, project, filename FROM usage_fetch
    WHERE sandbox_id = %(sandbox)s ORDER BY id DESC LIMIT 2000) newest
WHERE at > now() - interval '10 minutes' AND kind <> 'page' AND ecosystem = %(ecosystem)s
  AND project = %(project)s AND filename = %(filename)s"""


class Returns:
    def __init__(self, database: Database) -> None:
        self._database = database
        # Of who is not recorded (`prefetch.py`); for all others it says no more than the record.
        self._counted: Lru[tuple[int, str], int] = Lru(budget.REMEMBERED)

    async def count(self, sandbox: int, ecosystem: Ecosystem, stated: Stated) -> int:
        """How often before, and counts this time."""
        key = (sandbox, stated.file.sha256)
        before = self._counted.get(key) or 0
        self._counted.put(key, before + 1)
        values = {
            "sandbox": sandbox,
            "ecosystem": ecosystem.value,
            "project": stated.project,
            "filename": stated.file.filename,
        }
        rows = await self._database.rows(_ASKED, values)
        return max(before, int(rows[0]["times"]))

    def forget(self, sandbox: int, stated: Stated) -> None:
        """It is on hold no more."""
        self._counted.drop((sandbox, stated.file.sha256))
