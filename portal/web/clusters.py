"""Clusters: which there are, how full, whether they are trusted, what each can do; and adding one."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.web import amounts_form
from portal.web.respond import page, posts_of, translated
from sandboxes.errors import ConflictError, InvalidInputError, TemporaryError
from sandboxes.lifecycle import preflight_hints, registry
from sandboxes.lifecycle.amounts import Limits
from sandboxes.lifecycle.registry import Pace

type Form = Mapping[str, str]
_MOST_TEXT: Final = 100_000  # of a kubeconfig, in characters


@require(Permission.OPERATE)
@require_safe
def clusters(request: HttpRequest) -> HttpResponse:
    return page(request, "clusters", _list_context({}))


@require(Permission.OPERATE)
@require_http_methods(["GET", "HEAD", "POST"])
@translated
def add(request: HttpRequest) -> HttpResponse:
    """Registers a cluster; what was typed comes back with the reason when it cannot be used, but for the secret."""
    if request.method != "POST":
        return page(request, "clusters", {**_list_context({}), "adding": True})
    form = _form(request)
    try:
        row = registry.add(
            name=form.get("name", "").strip(),
            kubeconfig=None if form.get("source") == "in-cluster" else _kubeconfig(form),
            context=form.get("context", "").strip(),
            labels=_labels(form.get("labels", "")),
            capacity=amounts_form.parse(form),
            by=person(request),
        )
    except (InvalidInputError, ConflictError, TemporaryError) as error:
        typed = {key: value for key, value in form.items() if key != "kubeconfig"}
        return page(request, "clusters", {**_list_context(typed), "error": str(error)}, status=422)
    preflight_hints.check(row.name)
    messages.success(request, f"{row.name} is registered. It is being looked at now.", extra_tags="good")
    return redirect("cluster", row.name)


@require(Permission.OPERATE)
@require_safe
@translated
def cluster(request: HttpRequest, name: str) -> HttpResponse:
    return page(request, "cluster", _context(name))


@require(Permission.OPERATE)
@posts_of("cluster")
@translated
def act(request: HttpRequest, name: str) -> HttpResponse:
    """What the page's forms ask for, by the name of the button."""
    form, me = _form(request), person(request)
    action = _ACTIONS.get(form.get("action", ""))
    if action is None:
        raise Http404("There is no such action.")
    try:
        messages.success(request, action(name, form, me), extra_tags="good")
    except (InvalidInputError, ConflictError) as error:
        return page(request, "cluster", {**_context(name), "error": str(error), "typed": form}, status=422)
    return redirect("cluster", name)


def _trust(name: str, form: Form, me: User) -> str:
    registry.trust(name, by=me, reason=form.get("reason", ""))
    return f"{name} is trusted again and takes new sandboxes."


def _enable(name: str, form: Form, me: User) -> str:
    registry.enable(name, by=me)
    return f"{name} takes new sandboxes again."


def _disable(name: str, form: Form, me: User) -> str:
    registry.disable(name, by=me, reason=form.get("reason", ""))
    return f"{name} takes no new sandboxes. Those on it go on."


def _change(name: str, form: Form, me: User) -> str:
    registry.change(
        name,
        by=me,
        labels=_labels(form.get("labels", "")),
        capacity=amounts_form.parse(form),
        pace=Pace(
            concurrency=_whole(form, "concurrency", "Sandboxes worked on at once"),
            requests_per_second=_whole(form, "requests_per_second", "Requests a second"),
            burst=_whole(form, "burst", "Burst"),
        ),
    )
    return "Changed."


def _check(name: str, form: Form, me: User) -> str:
    registry.get(name)
    preflight_hints.check(name)
    return "It is being looked at; the report appears here within a minute or two."


_ACTIONS: Final[dict[str, Callable[[str, Form, User], str]]] = {
    "trust": _trust,
    "enable": _enable,
    "disable": _disable,
    "change": _change,
    "check": _check,
}


def _list_context(typed: Form) -> dict[str, Any]:
    fields = [(name, label, typed.get(name, "")) for name, (_, _, label) in amounts_form.FIELDS.items()]
    return {"clusters": registry.overview(), "typed": typed, "fields": fields}


def _context(name: str) -> dict[str, Any]:
    registry.get(name)  # NotFoundError, as the page of a cluster that is not there
    shown = next(one for one in registry.overview() if one.cluster.name == name)
    capacity = amounts_form.typed(Limits.from_row(shown.cluster, "max_"))
    return {
        "shown": shown,
        "cluster": shown.cluster,
        "lines": sorted(shown.cluster.report.get("lines", ()), key=_gravity),
        "labels": _written(shown.cluster.labels),
        "fields": [(key, label, capacity[key]) for key, (_, _, label) in amounts_form.FIELDS.items()],
    }


def _gravity(line: Mapping[str, str]) -> int:
    """What is missing and what is doubtful come before what is well, each in the order of the report."""
    return ("missing", "warning", "ok").index(line["state"])


def _form(request: HttpRequest) -> dict[str, str]:
    return {name: str(value).replace("\0", "") for name, value in request.POST.items()}


def _kubeconfig(form: Form) -> str:
    text = form.get("kubeconfig", "")
    if not text.strip():
        raise InvalidInputError("Paste the kubeconfig, or choose the cluster that Petridish runs in.")
    if len(text) > _MOST_TEXT:
        raise InvalidInputError("That is too long for a kubeconfig.")
    return text


def _labels(text: str) -> dict[str, str]:
    """`gpu=a100, zone=b`."""
    pairs = [part.strip().partition("=") for part in text.replace("\n", ",").split(",") if part.strip()]
    if wrong := [key for key, _, value in pairs if not value]:
        raise InvalidInputError(f"Labels are written NAME=VALUE with commas between; {wrong[0]!r} is not.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _written(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _whole(form: Form, name: str, label: str) -> int | None:
    text = form.get(name, "").strip()
    if text and not (text.isascii() and text.isdecimal() and int(text[:7]) == int(text)):
        raise InvalidInputError(f"{label}: type a whole number.")
    return int(text) if text else None
