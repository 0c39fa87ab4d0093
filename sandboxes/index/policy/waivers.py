"""A waiver: a dated, approved exception from one rule. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sandboxes.index.policy.facts import Candidate, Ecosystem


class Scope(StrEnum):
    """For whom it holds."""

    SANDBOX = "sandbox"
    PERSON = "person"
    DEPARTMENT = "department"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: the sandbox, and whose it is."""

    sandbox: int
    person: int
    department: str
    profile: str


@dataclass(frozen=True, slots=True)
class Waiver:
    """`rule` "" is every rule that can be waived (break-glass); `version` "" is every version."""

    id: int
    rule: str
    ecosystem: Ecosystem
    project: str
    version: str
    scope: Scope
    subject: str  # the sandbox's number, the person's, or the department's name; "" for all
    until: datetime
    break_glass: bool = False  # an admin's own, which lifts also what takes an admin

    def holds_for(self, who: Subject) -> bool:
        match self.scope:
            case Scope.SANDBOX:
                return self.subject == str(who.sandbox)
            case Scope.PERSON:
                return self.subject == str(who.person)
            case Scope.DEPARTMENT:
                return bool(self.subject) and self.subject == who.department
            case Scope.ALL:
                return True

    def lifts(self, rule: str, candidate: Candidate, now: datetime) -> bool:
        return (
            now < self.until
            and self.rule in ("", rule)
            and self.ecosystem is candidate.ecosystem
            and self.project == candidate.project
            and self.version in ("", candidate.version)
        )
