"""Where policy is asked for npm: of a packument, and of a tarball as `Judge` does it."""

import asyncio
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from typing import Final

from sandboxes.index import refusals
from sandboxes.index.book import Book, Edition
from sandboxes.index.candidates import Stated
from sandboxes.index.database import Database
from sandboxes.index.errors import NotGivenError
from sandboxes.index.judge import Judge
from sandboxes.index.knowledge import Advisor
from sandboxes.index.lru import Lru
from sandboxes.index.npm.packuments import Shown
from sandboxes.index.npm.view import Stored, View, make_view, npm_candidate
from sandboxes.index.policy.decide import Decision, Verdict
from sandboxes.index.policy.facts import Candidate, Ecosystem
from sandboxes.index.policy.rules import Finding, Rule
from sandboxes.index.policy.waivers import Subject

_MOST_REFUSED: Final = 200_000  # versions, in all views together
_IN_PLACE: Final = 200  # versions; more are decided in a thread
_ANY: Final = "latest"  # what the page that explains is asked about where no version was named

_SPOKEN_AGAINST = """
SELECT tarball.version, tarball.sha256, tarball.size
FROM index_tarball tarball JOIN screening_verdict verdict ON verdict.sha256 = tarball.sha256
WHERE tarball.package = %(package)s AND verdict.state IN ('held', 'blocked')
ORDER BY tarball.id"""


class NpmJudge(Judge):
    ecosystem = Ecosystem.NPM

    def __init__(self, book: Book, advisor: Advisor, public_url: str, database: Database) -> None:
        super().__init__(book, advisor, public_url)
        self._database = database
        self._packuments: Lru[Hashable, View] = Lru(_MOST_REFUSED)

    async def check_name(self, subject: Subject, name: str, source: str) -> None:
        """Raises `NotGivenError` for a name of the company's own, which `source` is not to be asked for."""
        edition = await self._book.current()
        policy = edition.rules.ruling(subject, Ecosystem.NPM, name).policy
        for entry in policy.internal:
            if entry.pattern.names(name) and (not entry.source or entry.source != source):
                found = Finding(Rule.INTERNAL, f"{name} is a name of our own and never comes from outside")
                why = refusals.why_url(self._public_url, Ecosystem.NPM.value, name, _ANY)
                raise NotGivenError(refusals.refusal(Decision(Verdict.REFUSE, (found,)), why))

    async def packument(self, subject: Subject, shown: Shown) -> View:
        packument, now = shown.packument, datetime.now(UTC)
        edition = await self._book.current()
        ruling = edition.rules.ruling(subject, Ecosystem.NPM, packument.name)
        knowledge = await self._advisor.about(edition, Ecosystem.NPM, packument.name)
        stored = await self._spoken_against(edition, packument.name)
        key = (shown.digest, ruling.key, knowledge.key, frozenset(stored.items()))
        kept = self._packuments.get(key)
        if kept is not None and (kept.settled_until is None or now < kept.settled_until):
            return kept
        work = (packument, ruling.policy, knowledge, stored, now, self._public_url)
        in_place = len(packument.releases) <= _IN_PLACE
        view = make_view(*work) if in_place else await asyncio.to_thread(make_view, *work)
        self._packuments.put(key, view, len(view.refused) + 1)
        return view

    async def _spoken_against(self, edition: Edition, name: str) -> Mapping[str, Stored]:
        if not edition.verdicts:
            return {}
        rows = await self._database.rows(_SPOKEN_AGAINST, {"package": name})
        return {row["version"]: Stored(row["sha256"], row["size"]) for row in rows}

    def _candidate(self, stated: Stated) -> Candidate:
        return npm_candidate(stated)
