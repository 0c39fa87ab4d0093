"""Why a version is not given: the same decision that the index makes, of the page that the index keeps.

It reads the same tables with the same statements, so what a person is told here is what a client is told
there. Only a file that is being screened is known better there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from packaging.version import InvalidVersion, Version

from portal.approvals.listing import Listed, listing
from sandboxes.index import rulebook
from sandboxes.index.npm import names as npm
from sandboxes.index.page import File
from sandboxes.index.policy.decide import Decision, Verdict, decide
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import ADMINS_ALONE, NEVER_WAIVED, Finding, Rule
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.rulebook import Rulebook
from sandboxes.index.waivers import About
from sandboxes.lifecycle.models import Sandbox


@dataclass(frozen=True)
class FileAnswer:
    """One file, and what policy makes of it now."""

    file: File
    built: bool
    released_at: datetime  # what the cooldown counts from
    decision: Decision


@dataclass(frozen=True)
class Explanation:
    """`listed`: the index has a page of the project. `instead` is the newest version that is given, "" if none.

    `our_own`: nobody outside is asked for a page, because the name is the company's.
    """

    about: About
    listed: bool
    files: tuple[FileAnswer, ...] = ()
    instead: str = ""
    our_own: bool = False

    @property
    def given(self) -> bool:
        return any(answer.decision.allowed for answer in self.files)

    @property
    def easiest(self) -> FileAnswer | None:
        """The file that the least speaks against: what opens it opens the version."""
        return min(
            self.files,
            key=lambda answer: (
                not answer.decision.allowed,
                answer.decision.verdict is not Verdict.HOLD,
                not answer.decision.waivable,
                answer.decision.needs_admin,
                len(answer.decision.findings),
                not answer.built,
            ),
            default=None,
        )

    @property
    def findings(self) -> list[Finding]:
        """What speaks against the version: each rule once, that of the easiest file first."""
        ordered = sorted(self.files, key=lambda answer: answer is not self.easiest)
        found = {
            finding.rule: finding for answer in reversed(ordered) for finding in answer.decision.findings
        }
        first = [finding.rule for answer in ordered for finding in answer.decision.findings]
        return [found[rule] for rule in dict.fromkeys(first)]

    @property
    def on_hold(self) -> bool:
        """Nothing has to be waived: it opens by itself."""
        return self.easiest is not None and self.easiest.decision.verdict is Verdict.HOLD

    @property
    def needed(self) -> list[Rule]:
        """The rules that have to be waived so that one file is given."""
        return list(self.easiest.decision.to_waive) if self.easiest else []

    @property
    def waivable(self) -> bool:
        return self.easiest is not None and self.easiest.decision.waivable

    @property
    def needs_admin(self) -> bool:
        """Whether an approver's waivers are not enough."""
        return self.easiest is not None and self.easiest.decision.needs_admin

    @property
    def opens(self) -> datetime | None:
        """When the first file is given by itself; None: never, or it is given already."""
        moments = [answer.decision.until for answer in self.files]
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def waived_by(self) -> list[int]:
        """The waivers without which it would not be given."""
        lifted = [waiver.id for answer in self.files for _, waiver in answer.decision.waived]
        return sorted(set(lifted))


# What is met most often comes first, and what takes an admin last.
WAIVABLE = sorted(
    set(Rule) - NEVER_WAIVED, key=lambda rule: (rule in ADMINS_ALONE, rule is not Rule.COOLDOWN, rule)
)


def subject_of(sandbox: Sandbox) -> Subject:
    return Subject(sandbox.pk, sandbox.owner_id, sandbox.department, sandbox.profile)


class Reader:
    """Explains several versions of one moment's policy, which is read once."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._rules = _rules()
        self._listings: dict[tuple[Ecosystem, str, bool], list[Listed] | None] = {}

    def explain(self, what: About, subject: Subject) -> Explanation:
        policy = self._rules.ruling(subject, what.ecosystem, what.project).policy.about(what.project)
        listed = self._listing(what, policy.screened)
        answers = [
            FileAnswer(file, known.built, known.released_at, decide(known, policy, self._now))
            for file, known in listed or ()
        ]
        files = tuple(answer for answer in answers if _same(what, answer.file.version))
        our_own = not files and any(not entry.source or listed is None for entry in policy.internal)
        return Explanation(what, listed is not None, files, _newest(what.ecosystem, answers), our_own)

    def _listing(self, what: About, screened: bool) -> list[Listed] | None:
        which = (what.ecosystem, what.project, screened)
        if which not in self._listings:
            self._listings[which] = listing(what.ecosystem, what.project, screened=screened)
        return self._listings[which]


def _rules() -> Rulebook:
    return Rulebook(None, _rows(rulebook.SETTINGS), _rows(rulebook.ENTRIES), _rows(rulebook.WAIVERS))


def _rows(statement: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _same(what: About, version: str) -> bool:
    """npm has one spelling of each version, PyPI several."""
    if what.ecosystem is Ecosystem.NPM:
        return version == what.version
    try:
        return Version(version) == Version(what.version)
    except InvalidVersion:
        return version == what.version


def _newest(ecosystem: Ecosystem, answers: Iterable[FileAnswer]) -> str:
    """As a client chooses: no pre-release and nothing yanked or deprecated, unless there is nothing else."""
    order = _npm_order if ecosystem is Ecosystem.NPM else _pypi_order
    given = [
        (*place[:1], answer.file.yanked is False, *place[1:], answer.file.version)
        for answer in answers
        if answer.decision.verdict is Verdict.ALLOW and (place := order(answer.file.version))
    ]
    return str(max(given)[-1]) if given else ""


def _pypi_order(text: str) -> tuple[Any, ...] | None:
    try:
        version = Version(text)
    except InvalidVersion:
        return None
    return not version.is_prerelease, version


def _npm_order(text: str) -> tuple[Any, ...] | None:
    version = npm.read(text)
    return (not version.prerelease, version) if version else None
