"""Package policy: the floor, what each profile adds to it, and the lists. Everybody reads it, admins change it."""

from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.approvals import package_policy
from portal.approvals.drafts import DraftError
from portal.approvals.durations import words
from portal.approvals.package_policy import FLOOR, Standing
from portal.web import rule_words
from portal.web.respond import page, posts_of, translated
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import ADMINS_ALONE, NEVER_WAIVED, Rule
from sandboxes.index.policy_settings import Kind, Settings

ECOSYSTEMS: Final = {Ecosystem.PYPI.value: "Python (PyPI)", Ecosystem.NPM.value: "JavaScript (npm)"}
KINDS: Final = {
    Kind.ALLOW.value: "Allow",
    Kind.DENY.value: "Deny",
    Kind.INTERNAL.value: "Our own names",
}
_VOUCHED: Final = "Vouched for: cooldown, freeze date, size, yanks, vulnerabilities and source do not count."
_NARROWS: Final = "What is given where “Allow list only” is on. Only the floor’s list vouches for anything."
_DENIED: Final = (
    "Never given but by an admin’s waiver. A range takes in the pre-releases and post-releases at its ends: "
    "<2 refuses 2.0rc1."
)
_INTERNAL: Final = "Never taken from outside, so nobody can pass theirs for ours. No waiver opens it."
# Setting → its name and what it is for.
EXPLAINED: Final = {
    "cooldown": (
        "Cooldown",
        (
            "A release is given only so long after it came out: most bad ones are found within days. "
            "One that mends a known weakness does not wait."
        ),
    ),
    "freeze_at": (
        "Freeze date",
        "The index as it was then, so that a trial can be repeated. Nothing released later is given.",
    ),
    "sdists": (
        "Source distributions",
        "Installing one runs its author’s code at once; a wheel is only unpacked.",
    ),
    "yanked": ("Yanked files", "Taken back by their own project. Clients take them only when named exactly."),
    "most_bytes": ("Largest file", "Files above it are not given, nor are those whose size nobody says."),
    "refuse_from": (
        "Vulnerabilities",
        (
            "Versions with a known vulnerability of this severity or above are refused. "
            "Those known to be malicious always are."
        ),
    ),
    "screened": ("Screening", "Whether a file is given before it was looked through."),
    "only_allowed": ("Allow list only", "Whether nothing but what is on the allow list is given."),
}
_SEVERITIES: Final = {
    "": "None is refused",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "critical": "Critical",
}


@dataclass(frozen=True)
class Row:
    """One setting: what the floor says, what this profile says, and what holds."""

    name: str
    title: str
    what: str
    floor: str
    own: str
    holds: str
    stricter: bool


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def show(request: HttpRequest, profile: str = FLOOR) -> HttpResponse:
    return page(request, "package_policy", _context(profile))


@require(Permission.MANAGE)
@posts_of("package_policy")
@translated
def change(request: HttpRequest) -> HttpResponse:
    """The settings of the floor or a profile, all at once."""
    form = _form(request)
    profile = form.get("profile", "")
    try:
        changed = package_policy.change(
            by=person(request),
            profile=profile,
            settings=package_policy.parse(form),
            reason=form.get("reason", ""),
        )
    except InvalidInputError as error:
        context = {**_context(profile), **_wrong("settings", error), "typed": form}
        return page(request, "package_policy", context, status=422)
    if changed:
        messages.success(request, "Changed. It holds everywhere within seconds.", extra_tags="good")
    else:
        messages.info(request, "Nothing was different, so nothing changed.")
    return _back(profile)


@require(Permission.MANAGE)
@posts_of("package_policy")
@translated
def reset(request: HttpRequest) -> HttpResponse:
    """A profile says nothing of its own any more."""
    form = _form(request)
    profile = form.get("profile", "")
    try:
        package_policy.reset(by=person(request), profile=profile, reason=form.get("reason", ""))
    except InvalidInputError as error:
        context = {**_context(profile), **_wrong("reset", error)}
        return page(request, "package_policy", context, status=422)
    messages.success(request, "Only the floor holds for it now, and its lists.", extra_tags="good")
    return _back(profile)


@require(Permission.MANAGE)
@posts_of("package_policy")
@translated
def add(request: HttpRequest) -> HttpResponse:
    form = _form(request)
    profile = form.get("profile", "")
    named = ("ecosystem", "kind", "pattern", "reason", "source")
    try:
        entry = package_policy.add_entry(
            by=person(request), profile=profile, **{name: form.get(name, "") for name in named}
        )
    except (InvalidInputError, ConflictError) as error:
        context = {**_context(profile), **_wrong("list", error), "listed": form}
        return page(request, "package_policy", context, status=422)
    messages.success(request, f"{entry.pattern} is on the list. It holds within seconds.", extra_tags="good")
    return _back(profile)


@require(Permission.MANAGE)
@require_POST
@translated
def end(request: HttpRequest, entry_id: int) -> HttpResponse:
    form = _form(request)
    try:
        entry = package_policy.end_entry(entry_id, by=person(request), reason=form.get("reason", ""))
    except InvalidInputError as error:
        messages.error(request, str(error), extra_tags="bad")
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, f"{entry.pattern} is off the list.", extra_tags="good")
        return _back(entry.profile)
    return _back(form.get("profile", ""))


def _form(request: HttpRequest) -> dict[str, str]:
    return {name: value.replace("\0", "") for name, value in request.POST.items() if isinstance(value, str)}


def _back(profile: str) -> HttpResponse:
    return redirect("profile_policy", profile) if profile else redirect("package_policy")


def _wrong(place: str, error: InvalidInputError | ConflictError) -> dict[str, Any]:
    """What is wrong, and in which form."""
    errors = error.errors if isinstance(error, DraftError) else {"": str(error)}
    return {"wrong": place, "errors": errors}


def _context(profile: str) -> dict[str, Any]:
    standing = package_policy.standing(profile)
    entries = list(package_policy.entries(profile))
    return {
        "profile": profile,
        "standing": standing,
        "rows": [_row(standing, name) for name in EXPLAINED],
        "named": package_policy.named(),
        "typed": package_policy.typed(standing.own),
        "severities": _SEVERITIES,
        "kinds": [
            (kind, title, _meant(kind, profile), [entry for entry in entries if entry.kind == kind])
            for kind, title in KINDS.items()
        ],
        "ecosystems": ECOSYSTEMS,
        "granted": _granted(),
    }


def _granted() -> dict[str, list[tuple[str, str]]]:
    """Who may lift which rules: as terminals name them, with their titles."""
    admin = [rule for rule in Rule if rule in ADMINS_ALONE]
    nobody = [rule for rule in Rule if rule in NEVER_WAIVED]
    approver = [rule for rule in Rule if rule not in (*admin, *nobody)]
    found = {"approver": approver, "admin": admin, "nobody": nobody}
    return {who: [(rule.value, rule_words.title(rule)) for rule in rules] for who, rules in found.items()}


def _meant(kind: str, profile: str) -> str:
    """What it means to be on the list."""
    allow = _NARROWS if profile else _VOUCHED
    return {Kind.ALLOW.value: allow, Kind.DENY.value: _DENIED}.get(kind, _INTERNAL)


def _row(standing: Standing, name: str) -> Row:
    title, what = EXPLAINED[name]
    floor, own, holds = (_text(one, name) for one in (standing.floor, standing.own, standing.holds))
    return Row(name, title, what, floor, own, holds, standing.stricter(name))


def _text(settings: Settings, name: str) -> str:
    """A setting in words."""
    match name:
        case "cooldown":
            return words(settings.cooldown) if settings.cooldown else "None"
        case "freeze_at":
            return f"{settings.freeze_at:%Y-%m-%d %H:%M} UTC" if settings.freeze_at else "None"
        case "most_bytes":
            size = settings.most_bytes
            return f"{size / 1024 / 1024:.4g} MiB" if size is not None else "No limit"
        case "refuse_from":
            severity = settings.refuse_from
            return f"Refused from {severity.name.lower()}" if severity else "Not refused"
        case "sdists" | "yanked":
            return "Given" if getattr(settings, name) else "Refused"
        case "screened":
            return "Given after it only" if settings.screened else "Given before it too"
    return "Only what is listed" if settings.only_allowed else "Off"
