"""What a run of the probe proves, told from what the control saw. Pure: two results in, a verdict out.

A target that was blocked proves something only if it was alive: somebody who may
reach it got an answer, in the same run, in less time than the probe had waited. And
a target that should be open but is not says something about the seal only if it was
open to the control: otherwise the index itself is down.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sandboxes.cluster.probe_script import BLOCKED_WAIT
from sandboxes.cluster.spec import Answer, Attempt, Control, ProbeResult, Protocol, Vouched
from sandboxes.cluster.targets import OPTIONAL

SAME_RUN: Final = timedelta(seconds=60)
# Without these nothing is proven: a live neighbour, and the API server at one of its addresses.
NEIGHBOUR: Final = frozenset(("canary",))
API_SERVER: Final = frozenset(("api-server", "api-service"))
_IN_TIME: Final = BLOCKED_WAIT * 1000 / 2  # milliseconds: the probe waited at least twice as long

type _Key = tuple[str, int, Protocol]


class Outcome(StrEnum):
    """Of one run."""

    HOLDS = "holds"
    OPEN = "open"  # something that must be blocked was reached: the seal is broken
    UNUSABLE = "unusable"  # the probe's own fault, or its network's: run it again
    UNPROVEN = "unproven"  # the control's, or that of what it asks: run both again


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, what it is drawn from (with the control's word for each attempt), and why."""

    outcome: Outcome
    attempts: tuple[Attempt, ...]
    reasons: tuple[str, ...]


def judge(result: ProbeResult, control: Control) -> Verdict:
    """The one place that says whether a seal holds."""
    answers = {(answer.host, answer.port, answer.protocol): answer for answer in control.answers}
    attempts = tuple(replace(attempt, control=_word(attempt, answers)) for attempt in result.attempts)
    blocked = [attempt for attempt in attempts if attempt.expected == "blocked"]
    leaks = [attempt for attempt in blocked if attempt.result == "open"]
    if leaks:
        return Verdict(Outcome.OPEN, attempts, tuple(map(_told, leaks)))
    broken = [attempt for attempt in blocked if attempt.result != "blocked"]
    if broken or not blocked or not result.usable:
        reasons = map(_told, broken) if broken else ("the probe tried nothing that must be blocked",)
        return Verdict(Outcome.UNUSABLE, attempts, tuple(reasons))
    closed = _closed(attempts)
    if not any(attempt.result == "open" for attempt in attempts) and not closed:
        return Verdict(Outcome.UNUSABLE, attempts, ("the probe tried nothing that must be open",))
    if any(attempt.control == "answered" for attempt in closed):
        return Verdict(Outcome.UNUSABLE, attempts, tuple(map(_told, closed)))
    missed = [attempt for attempt in closed if attempt.target not in OPTIONAL]
    doubts = [f"{_place(attempt)} did not answer the control either" for attempt in missed]
    doubts += [f"the control got no answer from {what}" for what in _unvouched(blocked)]
    return Verdict(Outcome.UNPROVEN if doubts else Outcome.HOLDS, attempts, tuple(doubts))


def distance(one: ProbeResult | Control, other: ProbeResult | Control) -> timedelta:
    """How far apart two runs lie; nothing if they overlap. ValueError if one does not say when it was."""
    (begin, end), (from_, until) = _span(one), _span(other)
    return max(from_ - end, begin - until, timedelta())


def is_before(one: ProbeResult | Control, other: ProbeResult | Control) -> bool:
    """Whether the one ended before the other began."""
    return _span(one)[1] < _span(other)[0]


def _span(run: ProbeResult | Control) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(run.started_at), datetime.fromisoformat(run.finished_at)


def _word(attempt: Attempt, answers: Mapping[_Key, Answer]) -> Vouched:
    """What the control says of this attempt's target."""
    answer = answers.get((attempt.host, attempt.port, attempt.protocol))
    if answer is None or not answer.open:
        return "silent"
    return "slow" if attempt.expected == "blocked" and answer.milliseconds > _IN_TIME else "answered"


def _closed(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Of what must be open, the attempts at services of which no address was. No index at all is none open."""
    allowed = [attempt for attempt in attempts if attempt.expected == "open"]
    reached = {attempt.target for attempt in allowed if attempt.result == "open"}
    return [attempt for attempt in allowed if attempt.target not in reached]


def _unvouched(blocked: Iterable[Attempt]) -> list[str]:
    alive = {attempt.target for attempt in blocked if attempt.control == "answered"}
    wanted = (("the canary", NEIGHBOUR), ("the API server", API_SERVER))
    return [what for what, names in wanted if not alive & names]


def _place(attempt: Attempt) -> str:
    host = f"[{attempt.host}]" if ":" in attempt.host else attempt.host
    kind = "/udp" if attempt.protocol == "udp" else ""
    return f"{attempt.target} ({host}:{attempt.port}{kind})"


def _told(attempt: Attempt) -> str:
    return f"{_place(attempt)} should be {attempt.expected}, was {attempt.result}"
