"""A page as one policy sees it: which of its files are given, and what is said of the others.

Made once for each page and policy and kept; many sandboxes have the same. A view holds until the first
moment at which one of its decisions changes by itself (`settled_until`): a cooldown is over, a
waiver ends. Views of equal `digest` look alike, so what is rendered of them is shared.
"""

import asyncio
import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sandboxes.index import budget, refusals, weights
from sandboxes.index.candidates import Stated, candidate, debuts, replacements, replaces
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.lru import Lru
from sandboxes.index.once import Once
from sandboxes.index.page import File, Page
from sandboxes.index.policy import rules
from sandboxes.index.policy.decide import Decision, Verdict, decide
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.policy import Policy
from sandboxes.index.projects import Shown
from sandboxes.index.rulebook import Ruling
from sandboxes.index.withheld import Withheld, withheld_on

_EMPTY = 2_500  # bytes that a view of nothing takes, with its key
_IN_PLACE = 200  # files; more are decided in a thread, so others go on

type FileKey = tuple[str, str]  # file name and sha256
type _Key = tuple[str, Hashable, Hashable]  # of the page, the ruling and the knowledge


@dataclass(frozen=True, slots=True)
class View:
    """`refused` has the decisions that do not allow; `marks` what the page says of those files, and of no others.

    A file on hold is refused to nobody yet and has no mark: who wants it asks for it, and waits.
    """

    refused: Mapping[FileKey, Decision]
    marks: Mapping[FileKey, str]
    digest: str  # "" when nothing is marked
    settled_until: datetime | None
    withheld: Withheld | None

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory."""
        return _EMPTY + weights.decisions(self.refused) + weights.texts(self.marks.values())


class Views:
    def __init__(self, public_url: str) -> None:
        self._public_url = public_url
        self._views: Lru[_Key, View] = Lru(budget.VIEWS)
        self._making: Once[_Key, View] = Once()

    async def of(self, shown: Shown, ruling: Ruling, knowledge: Knowledge, now: datetime) -> View:
        key = (shown.digest, ruling.key, knowledge.key)
        kept = self._views.get(key)
        if kept is not None and (kept.settled_until is None or now < kept.settled_until):
            return kept
        if len(shown.page.files) <= _IN_PLACE:
            return self._keep(key, *_weighed(shown.page, ruling.policy, knowledge, now, self._public_url))
        return await self._making.do(key, lambda: self._make(key, shown, ruling, knowledge, now))

    async def _make(
        self, key: _Key, shown: Shown, ruling: Ruling, knowledge: Knowledge, now: datetime
    ) -> View:
        work = (shown.page, ruling.policy, knowledge, now, self._public_url)
        return self._keep(key, *await asyncio.to_thread(_weighed, *work))

    def _keep(self, key: _Key, view: View, weight: int) -> View:
        self._views.put(key, view, weight)
        return view


def _weighed(
    page: Page, policy: Policy, knowledge: Knowledge, now: datetime, public_url: str
) -> tuple[View, int]:
    view = make_view(page, policy, knowledge, now, public_url)
    return view, view.weight


def make_view(page: Page, policy: Policy, knowledge: Knowledge, now: datetime, public_url: str) -> View:
    """Pure."""
    decisions = _decisions(page, policy.about(page.project), knowledge, now)
    refused = {_key(file): decision for file, decision in decisions if not decision.allowed}
    marks = {
        _key(file): refusals.yanked(decision, _why(public_url, file, page), file.yanked)
        for file, decision in decisions
        if decision.verdict is Verdict.REFUSE
    }
    moments = [decision.settled_until for _, decision in decisions]
    return View(
        refused,
        marks,
        _digest(marks),
        min((moment for moment in moments if moment is not None), default=None),
        withheld_on(decisions),
    )


def _decisions(
    page: Page, policy: Policy, knowledge: Knowledge, now: datetime
) -> list[tuple[File, Decision]]:
    before, debut = (replacements(page), debuts(page)) if knowledge.advised else ({}, {})
    checks = rules.asked(policy)
    found = []
    for file in page.files:
        former = replaces(file, before, debut) if before else ""
        stated = Stated(page.project, file, page.source, former)
        informed = knowledge.informed(candidate(stated), stated.replaces, screened=policy.screened)
        found.append((file, decide(informed, policy, now, checks)))
    return found


def _why(public_url: str, file: File, page: Page) -> str:
    return refusals.why_url(public_url, Ecosystem.PYPI.value, page.project, file.version)


def _digest(marks: Mapping[FileKey, str]) -> str:
    if not marks:
        return ""
    lines = [[*key, mark] for key, mark in marks.items()]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _key(file: File) -> FileKey:
    return file.filename, file.sha256
