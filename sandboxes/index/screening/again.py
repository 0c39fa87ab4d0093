"""Screening again what older rules have screened: the newest first, of those the most used.

A walk through the verdicts, a few at a time, and only while nothing else is to be done. Only bytes that are here
become jobs. What is not here was evicted, or is another host's to do; its verdict holds, should it be fetched again.
Older is what another version of Petridish scanned, and what was scanned with other patterns, unless these came later
than ours: see `rules.py`.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import msgspec

from sandboxes.index.database import Database
from sandboxes.index.errors import UpstreamError
from sandboxes.index.npm import packument as npm
from sandboxes.index.page import FORMAT, Page
from sandboxes.index.screening import facts
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.material import Material
from sandboxes.index.screening.rules import Rules, heard_of
from sandboxes.screening.package import Facts
from sandboxes.screening.words import Ecosystem

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 50
_ANEW: Final = 3600.0  # seconds after which a walk that came to its end begins again
_END: Final = (datetime.max.replace(tzinfo=UTC), "g")  # after every verdict

_OLDER: Final = f"""
SELECT verdict.id, verdict.sha256, verdict.ecosystem, verdict.project, verdict.version, verdict.filename, verdict.at,
    (SELECT count(*) FROM usage_install install
     WHERE install.project = verdict.project AND install.version = verdict.version
       AND install.sha256 = verdict.sha256) AS installs,
    (SELECT integrity FROM index_tarball
     WHERE verdict.ecosystem = 'npm' AND sha256 = verdict.sha256 ORDER BY id LIMIT 1) AS integrity
FROM screening_verdict verdict
WHERE (verdict.scanned_by < %(version)s
       OR verdict.rules < %(rules)s OR verdict.rules > %(rules)s)
  AND verdict.scanned_by <= %(version)s AND verdict.filename <> ''
  AND (verdict.scanned_by < %(version)s OR NOT EXISTS (
       SELECT FROM screening_rules other JOIN screening_rules mine ON mine.place = %(place)s
       WHERE other.digest = verdict.rules AND {heard_of("other")}
         AND (other.changed_at, other.digest) > (mine.changed_at, mine.digest)))
  AND (verdict.at, verdict.id) < (%(at)s::timestamptz, %(id)s::text)
ORDER BY verdict.at DESC, verdict.id DESC LIMIT {_AT_ONCE}"""  # noqa: S608
_PAGE: Final = "SELECT document FROM index_project WHERE name = %(name)s AND format = %(format)s"
_PACKUMENT: Final = "SELECT document FROM index_packument WHERE name = %(name)s AND format = %(format)s"


class Again:
    def __init__(
        self, database: Database, jobs: Jobs, material: Material, rules: Rules, version: int
    ) -> None:
        """`version`: of detectors and limits now; `rules`: the patterns."""
        self._database = database
        self._jobs = jobs
        self._material = material
        self._version = version
        self._rules = rules
        self._walked_for = ""  # the rules of this walk
        self._after = _END
        self._from = 0.0  # on `monotonic`'s clock

    async def some(self) -> int:
        """Makes jobs of the next verdicts that are here; how many. Raises `UnavailableError`."""
        if not self._rules.known:
            return 0
        if self._walked_for != self._rules.digest:
            self._walked_for, self._after, self._from = self._rules.digest, _END, 0.0
        while monotonic() >= self._from:
            at, last = self._after
            values = {"version": self._version, "at": at, "id": last}
            values |= {"rules": self._walked_for, "place": self._rules.place}
            rows = await self._database.rows(_OLDER, values)
            made = [row for row in rows if await self._material.has(row["integrity"] or row["sha256"])]
            for row in made:
                await self._jobs.again(row["sha256"], await self._facts(row), row["installs"])
            if len(rows) < _AT_ONCE:
                self._after, self._from = _END, monotonic() + _ANEW
            else:
                self._after = rows[-1]["at"], rows[-1]["id"]
            if made:
                return len(made)
        return 0

    async def _facts(self, row: Mapping[str, Any]) -> Facts:
        """By the page that is kept; if there is none, what the verdict says."""
        found = await self._by_page(row)
        return found or Facts(
            filename=row["filename"],
            ecosystem=row["ecosystem"],
            project=row["project"],
            version=row["version"],
        )

    async def _by_page(self, row: Mapping[str, Any]) -> Facts | None:
        is_npm = row["ecosystem"] == Ecosystem.NPM
        statement, newest = (_PACKUMENT, npm.FORMAT) if is_npm else (_PAGE, FORMAT)
        kept = await self._database.row(statement, {"name": row["project"], "format": newest})
        if kept is None or kept["document"] is None:
            return None
        document = bytes(kept["document"])
        try:
            if is_npm:
                packument = await asyncio.to_thread(npm.Packument.load, document)
                release = packument.find(row["version"])
                return await facts.of_release(packument, release) if release else None
            page = await asyncio.to_thread(Page.load, document)
            file = page.find(row["filename"], row["sha256"])
            return await facts.of_file(page, file) if file else None
        except (msgspec.DecodeError, UpstreamError, ValueError):
            logger.warning("the page of %s cannot be read", row["project"])
            return None
