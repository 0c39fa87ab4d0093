"""The one place where the index process asks policy: for a page as for a file, its metadata, HEAD and ranges.

A file that is to be screened first is held: who asks waits a little in the request, is then told to come back,
and after `_RETURNS` times is told to come back later and by hand. pip and Poetry do not wait for ever,
and a client that is told "try again" for ever shows nobody why. Of one sandbox only so many wait.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from msgspec.structs import replace as changed

from sandboxes.index import own_names, refusals
from sandboxes.index.book import Book
from sandboxes.index.candidates import Stated, candidate
from sandboxes.index.errors import NameNotGivenError, NotGivenError, Refusal, UnavailableError
from sandboxes.index.knowledge import Advisor
from sandboxes.index.news import News
from sandboxes.index.policy.decide import Decision, Verdict, decide
from sandboxes.index.policy.facts import Candidate, Ecosystem
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.projects import Shown
from sandboxes.index.returns import Returns
from sandboxes.index.upstreams import Sources
from sandboxes.index.views import View, Views

_WAIT = 12.0  # seconds in a request; Poetry gives up after 15
_LOOK = 2.0  # seconds between looks at the verdict; it is told as well (`news.py`)
_RETURNS: Final = 4  # times a client is told to come back
_MOST_WAITING = 32  # requests of one sandbox; the next is told to come back at once


class Judge:
    """Of one ecosystem's files; npm's is `npm/judge.py`."""

    ecosystem = Ecosystem.PYPI

    def __init__(self, book: Book, advisor: Advisor, public_url: str, returns: Returns, news: News) -> None:
        self._book = book
        self._advisor = advisor
        self._public_url = public_url
        self._views = Views(public_url)
        self._returns = returns
        self._news = news
        self._waiting: Counter[int] = Counter()  # by sandbox

    async def sources(self, subject: Subject, project: str) -> Sources:
        """The upstreams that may hear the name; None: all that may have it."""
        edition = await self._book.current()
        policy = edition.rules.ruling(subject, self.ecosystem, project).policy
        return own_names.sources_of(policy, project) if policy.internal else None

    def own_name(self, project: str, version: str) -> NotGivenError:
        """For whoever asks for a file of a name of the company's own of which nothing is known."""
        version = own_names.ANY if version == own_names.VERSION else version
        return NotGivenError(self._own_name(project, version))

    def own_project(self, project: str) -> NameNotGivenError:
        """For whoever asks for its page."""
        return NameNotGivenError(self._own_name(project, own_names.ANY))

    def _own_name(self, project: str, version: str) -> Refusal:
        why = refusals.why_url(self._public_url, self.ecosystem.value, project, version)
        return refusals.refusal(own_names.refusal_of(project), why)

    async def expect(self, project: str) -> None:
        """Has at hand what is known of a project, so that its page need not wait for it."""
        await self._advisor.about(await self._book.current(), self.ecosystem, project)

    async def view(self, subject: Subject, shown: Shown) -> View:
        project = shown.page.project
        edition = await self._book.current()
        ruling = edition.rules.ruling(subject, Ecosystem.PYPI, project)
        knowledge = await self._advisor.about(edition, Ecosystem.PYPI, project)
        return await self._views.of(shown, ruling, knowledge, _now())

    async def decide(self, subject: Subject, stated: Stated) -> Decision:
        """Raises `UnavailableError` when nobody knows what holds now."""
        edition = await self._book.current()
        policy = edition.rules.ruling(subject, self.ecosystem, stated.project).policy
        knowledge = await self._advisor.about(edition, self.ecosystem, stated.project)
        file = knowledge.informed(self._candidate(stated), stated.replaces, screened=policy.screened)
        if policy.screened:
            file = changed(file, screening=await self._advisor.screening_of(file))
        return decide(file, policy, _now())

    async def check(self, subject: Subject, stated: Stated) -> bool:
        """Whether it may be given now; False: it is on hold. Raises `NotGivenError` for what is refused."""
        decision = await self.decide(subject, stated)
        if decision.verdict is Verdict.REFUSE:
            raise self._not_given(stated, decision)
        return decision.allowed

    async def wait(self, subject: Subject, stated: Stated) -> None:
        """Returns when a file that was on hold may be given. Raises `NotGivenError` or `UnavailableError`."""
        if not await self._opens(subject, stated):
            await self._send_away(subject, stated)

    async def _opens(self, subject: Subject, stated: Stated) -> bool:
        sandbox = subject.sandbox
        if self._waiting[sandbox] >= _MOST_WAITING:
            return False
        self._waiting[sandbox] += 1
        try:
            if await self._passes(subject, stated):
                self._returns.forget(sandbox, stated)
                return True
            return False
        finally:
            self._waiting[sandbox] -= 1
            if not self._waiting[sandbox]:
                del self._waiting[sandbox]

    async def _passes(self, subject: Subject, stated: Stated) -> bool:
        end = monotonic() + _WAIT
        with self._news.about(stated.file.sha256) as told:
            while True:
                told.clear()
                if await self.check(subject, stated):
                    return True
                left = end - monotonic()
                if left <= 0:
                    return False
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, _LOOK)):
                        await told.wait()

    async def _send_away(self, subject: Subject, stated: Stated) -> None:
        if await self._returns.count(subject.sandbox, self.ecosystem, stated) < _RETURNS:
            raise UnavailableError(f"{stated.file.filename} is being screened; try again.")
        decision = await self.decide(subject, stated)
        if decision.allowed:
            return
        still = tuple(
            replace(each, reason="scan still running; come back later") for each in decision.findings
        )
        raise self._not_given(stated, replace(decision, findings=still))

    def _candidate(self, stated: Stated) -> Candidate:
        return candidate(stated)

    def _not_given(self, stated: Stated, decision: Decision) -> NotGivenError:
        why = refusals.why_url(self._public_url, self.ecosystem.value, stated.project, stated.file.version)
        return NotGivenError(refusals.refusal(decision, why))


def _now() -> datetime:
    return datetime.now(UTC)
