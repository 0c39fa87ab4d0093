"""Where policy is asked for npm: of a packument, and of a tarball as `Judge` does it."""

import asyncio
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from sandboxes.index import budget, refusals
from sandboxes.index.book import Book, Edition
from sandboxes.index.candidates import Stated
from sandboxes.index.database import Database
from sandboxes.index.errors import NotGivenError
from sandboxes.index.flight import LARGEST
from sandboxes.index.judge import Judge
from sandboxes.index.knowledge import Advisor, Knowledge
from sandboxes.index.lru import Lru
from sandboxes.index.news import News
from sandboxes.index.npm.packument import Packument
from sandboxes.index.npm.packuments import Shown
from sandboxes.index.npm.view import Stored, View, make_view, npm_candidate, why_url
from sandboxes.index.once import Once
from sandboxes.index.policy.decide import Decision
from sandboxes.index.policy.facts import Candidate, Ecosystem
from sandboxes.index.policy.policy import Policy
from sandboxes.index.policy.rules import Rule
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.returns import Returns

_SPOKEN: Final = 400  # bytes of a key for each version that screening has something against
_IN_PLACE: Final = 200  # versions; more are decided in a thread

_SPOKEN_AGAINST = """
SELECT tarball.version, tarball.sha256, tarball.size
FROM index_tarball tarball JOIN screening_verdict verdict ON verdict.sha256 = tarball.sha256
WHERE tarball.package = %(package)s AND verdict.state IN ('held', 'blocked')
ORDER BY tarball.id"""

type _Work = tuple[Packument, Policy, Knowledge, Mapping[str, Stored], datetime, str]


class NpmJudge(Judge):
    ecosystem = Ecosystem.NPM

    def __init__(self, book: Book, advisor: Advisor, public_url: str, database: Database, news: News) -> None:
        super().__init__(book, advisor, public_url, Returns(database), news)
        self._database = database
        self._packuments: Lru[Hashable, View] = Lru(budget.PACKUMENT_VIEWS)
        self._making: Once[Hashable, View] = Once()

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
        if len(packument.releases) <= _IN_PLACE:
            return self._keep(key, *_weighed(*work))
        return await self._making.do(key, lambda: self._make(key, work))

    async def _make(self, key: Hashable, work: _Work) -> View:
        return self._keep(key, *await asyncio.to_thread(_weighed, *work))

    def _keep(self, key: Hashable, view: View, weight: int) -> View:
        self._packuments.put(key, view, weight)
        return view

    def refused(self, name: str, version: str, decision: Decision) -> NotGivenError:
        return NotGivenError(refusals.refusal(decision, why_url(self._public_url, name, version)))

    async def largest(self, subject: Subject, about: Stated) -> int:
        """Bytes after which its download ends, whatever its packument says: see `flight.Blob`."""
        edition = await self._book.current()
        most = edition.rules.ruling(subject, Ecosystem.NPM, about.project).policy.most_bytes
        if most is None:
            return LARGEST
        huge = replace(about, file=replace(about.file, size=LARGEST))
        decision = await self.decide(subject, huge)  # a waiver may have lifted the limit
        return most if any(finding.rule is Rule.SIZE for finding in decision.findings) else LARGEST

    async def _spoken_against(self, edition: Edition, name: str) -> Mapping[str, Stored]:
        if not edition.verdicts:
            return {}
        rows = await self._database.rows(_SPOKEN_AGAINST, {"package": name})
        return {row["version"]: Stored(row["sha256"], row["size"]) for row in rows}

    def _candidate(self, stated: Stated) -> Candidate:
        return npm_candidate(stated)


def _weighed(
    packument: Packument,
    policy: Policy,
    knowledge: Knowledge,
    stored: Mapping[str, Stored],
    now: datetime,
    public_url: str,
) -> tuple[View, int]:
    view = make_view(packument, policy, knowledge, stored, now, public_url)
    return view, view.weight + _SPOKEN * len(stored)
