"""The scale of screening: how many points each finding has, and from how many on a file is noted, warned of or held;
and which patterns are looked for."""

from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.approvals import scale as approvals
from portal.web import screening_words
from portal.web.respond import page, posts_of, translated
from sandboxes.errors import InvalidInputError
from sandboxes.screening import rules, scale, scoring
from sandboxes.screening.findings import Ability, Threat

THRESHOLDS: Final = {
    "note": ("Noted from", "It is given, and what was found is kept."),
    "warn": ("Warned of from", "It is given, and its verdict says that it is doubtful."),
    "hold": ("Held from", "It waits until a person has looked."),
}


@require(Permission.MANAGE)
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    return page(request, "scale", _context(approvals.typed(scale.current())))


@require(Permission.MANAGE)
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What it would make of the files that are held now: the panel alone."""
    context: dict[str, Any] = {}
    try:
        context["effect"] = scale.effect(approvals.parse(_form(request)))
    except InvalidInputError as error:
        context["wrong"] = str(error)
    return page(request, "scale", context, part="effect")


@require(Permission.MANAGE)
@posts_of("scale")
@translated
def change(request: HttpRequest) -> HttpResponse:
    form = _form(request)
    try:
        changed = approvals.change(by=person(request), typed=form, reason=form.get("reason", ""))
    except InvalidInputError as error:
        context = {**_context(form), "error": str(error), "reason": form.get("reason", "")}
        return page(request, "scale", context, status=422)
    if changed:
        messages.success(request, "Changed. Files are judged by it from now on.", extra_tags="good")
    else:
        messages.info(request, "Nothing was different, so nothing changed.")
    return redirect("scale")


@require(Permission.MANAGE)
@posts_of("scale")
@translated
def restore(request: HttpRequest) -> HttpResponse:
    try:
        done = approvals.restore(by=person(request), reason=_form(request).get("reason", ""))
    except InvalidInputError as error:
        context = {**_context(approvals.typed(scale.current())), "restore_error": str(error)}
        return page(request, "scale", context, status=422)
    if done:
        messages.success(request, "The defaults hold again.", extra_tags="good")
    else:
        messages.info(request, "The defaults held already.")
    return redirect("scale")


def _form(request: HttpRequest) -> dict[str, str]:
    return {name: str(value).replace("\0", "") for name, value in request.POST.items()}


def _context(typed: dict[str, str]) -> dict[str, Any]:
    usual = approvals.typed(scoring.DEFAULT)
    places = list(rules.places())
    try:
        effect: scale.Effect | None = scale.effect(approvals.parse(typed))
    except InvalidInputError:
        effect = None
    return {
        "rows": [_row(ability, typed, usual) for ability in Ability],
        "threats": [screening_words.THREATS[threat] for threat in Threat],
        "thresholds": [
            (name, *words, typed.get(name, ""), usual[name]) for name, words in THRESHOLDS.items()
        ],
        "is_default": scale.is_default(),
        "effect": effect,
        "most": scoring.MOST,
        "places": places,
        "rules_differ": rules.differ(places),
        "here": "scale",
    }


def _row(ability: Ability, typed: dict[str, str], usual: dict[str, str]) -> dict[str, Any]:
    title, what = screening_words.ABILITIES[ability]
    names = [(screening_words.THREATS[threat][0], approvals.field(ability, threat)) for threat in Threat]
    cells = [(label, name, typed.get(name, ""), usual[name]) for label, name in names]
    return {"title": title, "what": what, "cells": cells}
