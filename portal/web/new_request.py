"""New request: the form, and beside it what policy will say before anything is sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.approvals import services
from portal.approvals.drafts import DATA_CLASSES, QUESTIONS, Draft, DraftError, parse_draft, parse_duration
from portal.approvals.models import State
from portal.approvals.policy import Verdict
from portal.approvals.profiles import Profile, all_profiles
from portal.web.respond import fingerprint, page, translated
from sandboxes.cluster.quantities import parse_quantity
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.quota import Arithmetic

CUSTOM: Final = "custom"
DURATIONS: Final = {"PT1H": "1 hour", "PT4H": "4 hours", "P1D": "1 day", "P3D": "3 days", "P7D": "7 days"}
DATA_HINTS: Final = {
    "public": "Open data, made-up examples, nothing of ours.",
    "internal": "Ordinary work data. An approver looks at it first.",
    "confidential": "Not in a sandbox: contracts, salaries, anything marked confidential.",
    "personal": "Not in a sandbox: anything about real people.",
}
ANSWER_HINTS: Final = {
    "why": "What would it do for you that today's tools do not?",
    "licence": "Its page usually says MIT, Apache, GPL… Write what you found, or that you found none.",
    "source": "Where did you hear of it, and who publishes it? A link helps.",
    "impact": "Worst case: somebody put something bad into it. What could it see or break?",
}
_ORDER: Final = [
    *("profile", "purpose", "tools", "duration", "data_class", "answers"),
    *(f"answer_{key}" for key in QUESTIONS),
]
_SETS_POLICY: Final = frozenset({"profile", "duration", "data_class"})


@dataclass(frozen=True)
class Typed:
    """What stands in the form, as typed; it goes back into the page when something is wrong."""

    profile: str = ""
    purpose: str = ""
    tools: str = ""
    choice: str = "P1D"
    custom: str = ""
    data_class: str = "public"
    answers: Mapping[str, str] = field(default_factory=dict)

    @property
    def duration(self) -> str:
        return self.custom if self.choice == CUSTOM else self.choice

    @property
    def tool_list(self) -> list[str]:
        """One per line, or separated by commas."""
        return [tool.strip() for tool in re.split(r"[\n,;]", self.tools) if tool.strip()]

    def missing(self) -> dict[str, str]:
        """What this form asks for beyond what a draft needs."""
        empty = {
            f"answer_{key}": f"Answer “{QUESTIONS[key]}”" for key in QUESTIONS if not self.answers.get(key)
        }
        return {**({} if self.tool_list else {"tools": "Name at least one tool."}), **empty}

    def draft(self) -> Draft:
        """DraftError names each field that cannot be taken."""
        return parse_draft(
            profile=self.profile,
            purpose=self.purpose,
            tools=self.tool_list,
            duration=self.duration,
            data_class=self.data_class,
            answers=self.answers,
        )


@require(Permission.REQUEST_SANDBOX)
@require_http_methods(["GET", "HEAD", "POST"])
@translated
def new_request(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _form(request, Typed(profile=request.GET.get("profile") or _offered()[0].name))
    typed = _read(request.POST)
    draft, errors = _checked(typed)
    if draft is None:
        return _form(request, typed, errors, status=422)
    made = services.submit(by=person(request), draft=draft)
    if made.state == State.APPROVED and made.sandbox is not None:
        queued = made.sandbox.phase == Phase.QUEUED
        told = "It starts as soon as there is room." if queued else "Your sandbox is being made."
        messages.success(request, f"Approved at once. {told}", extra_tags="good")
        return redirect("sandbox", made.sandbox.pk)
    return redirect("request", made.pk)


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def preview(request: HttpRequest) -> HttpResponse:
    """The panel alone; 204 while it would say the same, so that a screen reader is not told twice."""
    panel = _panel(request, _read(request.POST))
    if panel["said"] == request.POST.get("said"):
        return HttpResponse(status=204)
    return page(request, "new_request", {"panel": panel}, part="panel")


def _checked(typed: Typed) -> tuple[Draft | None, dict[str, str]]:
    """The draft, or everything that is wrong, in the order of the form."""
    errors = typed.missing()
    try:
        draft = typed.draft()
    except DraftError as error:
        errors = {**error.errors, **errors}
    ordered = {name: errors[name] for name in sorted(errors, key=_ORDER.index)}
    return (None, ordered) if ordered else (draft, {})


def _form(
    request: HttpRequest, typed: Typed, errors: Mapping[str, str] | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "typed": typed,
        "errors": errors or {},
        "panel": _panel(request, typed),
        "profiles": _offered(),
        "durations": DURATIONS,
        "data_classes": [(value, label, DATA_HINTS.get(value, "")) for value, label in DATA_CLASSES.items()],
        "questions": [
            {
                "key": key,
                "label": label,
                "hint": ANSWER_HINTS.get(key, ""),
                "answer": typed.answers.get(key, ""),
                "error": (errors or {}).get(f"answer_{key}"),
            }
            for key, label in QUESTIONS.items()
        ],
    }
    return page(request, "new_request", context, status=status)


def _offered() -> list[Profile]:
    """The smallest first: it is what most people need."""
    return sorted(all_profiles().values(), key=lambda one: (one.gpu, parse_quantity(one.memory)))


def _read(form: QueryDict) -> Typed:
    def text(name: str) -> str:
        return form.get(name, "").replace("\0", "").replace("\r\n", "\n").strip()

    return Typed(
        profile=text("profile"),
        purpose=text("purpose"),
        tools=text("tools"),
        choice=text("duration"),
        custom=text("custom"),
        data_class=text("data_class"),
        answers={key: text(f"answer_{key}") for key in QUESTIONS},
    )


def _panel(request: HttpRequest, typed: Typed) -> dict[str, Any]:
    """What policy will say and whether there is room, or what is still needed to know that."""
    verdict: Verdict | None = None
    room: Arithmetic | None = None
    missing: list[str] = []
    try:
        draft = _enough(typed)
        verdict = services.preview(by=person(request), draft=draft)
        room = services.room(by=person(request), draft=draft) if verdict.outcome != "deny" else None
    except DraftError as error:
        missing = [message for name, message in error.errors.items() if name in _SETS_POLICY]
    except InvalidInputError as error:
        missing = [str(error)]
    said = fingerprint(verdict and (verdict.outcome, verdict.reasons), missing, room)
    return {"verdict": verdict, "room": room, "missing": missing, "said": said}


def _enough(typed: Typed) -> Draft:
    """A draft as soon as policy has what it looks at, while the rest is still being written."""
    try:
        return typed.draft()
    except DraftError as error:
        if error.errors.keys() & _SETS_POLICY:
            raise
    return Draft(
        profile=typed.profile,
        purpose=typed.purpose,
        tools=tuple(typed.tool_list),
        duration=parse_duration(typed.duration),
        data_class=typed.data_class,
        answers=dict(typed.answers),
    )
