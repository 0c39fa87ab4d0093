"""What a person typed, checked field by field, before it becomes a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from portal.approvals.durations import format_duration, parse_duration, words
from portal.approvals.profiles import all_profiles
from sandboxes.errors import InvalidInputError

QUESTIONS = {
    "why": "Why this tool, and not one we have?",
    "licence": "Which licence does it have, and did you check it?",
    "source": "Where did you find it, and who makes it?",
    "impact": "What happens if it turns out to be bad?",
}
DATA_CLASSES = {
    "public": "Public: anyone may see it",
    "internal": "Internal: for colleagues only",
    "confidential": "Confidential",
    "personal": "Personal data",
}
REFUSED_DATA = {
    "confidential": "Confidential data may not be used in a sandbox: the tools in it are not yet trusted. "
    "Make up test data, or ask for public or internal data.",
    "personal": "Personal data may not be used in a sandbox: there is no legal ground to give it to a tool "
    "under trial. Make up test data, or ask for public or internal data.",
}
_MOST_TEXT = 4000
_MOST_TOOLS = 50


@dataclass(frozen=True)
class Draft:
    """A sandbox request that is well formed. `tools` are names, package names or free text."""

    profile: str
    purpose: str
    tools: tuple[str, ...]
    duration: timedelta
    data_class: str
    answers: dict[str, str]


class DraftError(InvalidInputError):
    """`errors` says what is wrong with which field."""

    def __init__(self, errors: dict[str, str], code: str = "invalid") -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors
        self.code = code


def parse_draft(
    *,
    profile: str,
    purpose: str,
    tools: Sequence[str],
    duration: str,
    data_class: str,
    answers: Mapping[str, str],
) -> Draft:
    """The draft, or a DraftError naming every field that is wrong, not just the first."""
    errors: dict[str, str] = {}
    length = _length(profile, duration, errors)
    if profile not in all_profiles():
        errors["profile"] = f"There is no profile {profile!r}; choose one of {', '.join(all_profiles())}."
    if not purpose.strip():
        errors["purpose"] = "Say what you want to find out."
    elif _unfit(purpose):
        errors["purpose"] = _unfit(purpose)
    cleaned = tuple(dict.fromkeys(tool.strip() for tool in tools if tool.strip()))
    if len(cleaned) > _MOST_TOOLS or any(len(tool) > 200 or _unfit(tool) for tool in cleaned):
        errors["tools"] = f"Name at most {_MOST_TOOLS} tools, each in at most 200 plain characters."
    _check_data_class(data_class, errors)
    if unknown := sorted(answers.keys() - QUESTIONS):
        errors["answers"] = f"Nobody asks {unknown[0][:40]!r}; the questions are {', '.join(QUESTIONS)}."
    elif any(map(_unfit, answers.values())):
        errors["answers"] = f"Keep each answer below {_MOST_TEXT} plain characters."
    if errors or length is None:
        refused = data_class in REFUSED_DATA and set(errors) == {"data_class"}
        raise DraftError(errors, "data_class_refused" if refused else "invalid")
    kept = {key: text.strip() for key, text in answers.items() if text.strip()}
    return Draft(profile, purpose.strip(), cleaned, length, data_class, kept)


def _unfit(text: str) -> str:
    """Too long, or holding a NUL, which PostgreSQL cannot store."""
    if len(text) > _MOST_TEXT:
        return f"Keep it below {_MOST_TEXT} characters."
    return "It holds a character that cannot be stored." if "\0" in text else ""


def _length(profile: str, duration: str, errors: dict[str, str]) -> timedelta | None:
    try:
        length = parse_duration(duration)
    except InvalidInputError as error:
        errors["duration"] = str(error)
        return None
    known = all_profiles().get(profile)
    if known and length > known.max_duration:
        cap = known.max_duration
        errors["duration"] = f"{known.title} is offered for at most {words(cap)} ({format_duration(cap)})."
    return length


def _check_data_class(data_class: str, errors: dict[str, str]) -> None:
    if data_class in REFUSED_DATA:
        errors["data_class"] = REFUSED_DATA[data_class]
    elif data_class not in DATA_CLASSES:
        errors["data_class"] = f"There is no data class {data_class!r}; choose public or internal."


__all__ = [
    "DATA_CLASSES",
    "QUESTIONS",
    "REFUSED_DATA",
    "Draft",
    "DraftError",
    "format_duration",
    "parse_draft",
    "parse_duration",
    "words",
]
