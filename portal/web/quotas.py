"""Quotas: who may have how much at once, who has it, and who waits."""

from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.approvals import limits
from portal.web import amounts_form
from portal.web.respond import page, posts_of, translated
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import quota
from sandboxes.lifecycle.amounts import Resource, number
from sandboxes.lifecycle.models.quota import Scope

SCOPES: Final = {
    Scope.PERSON: ("Person", "Every person"),
    Scope.DEPARTMENT: ("Department", "Every department"),
    Scope.PROFILE: ("Profile", "Every profile"),
}


@require(Permission.OPERATE)
@require_safe
def quotas(request: HttpRequest) -> HttpResponse:
    return page(request, "quotas", _context(request.GET.get("scope", ""), request.GET.get("subject", "")))


@require(Permission.OPERATE)
@posts_of("quotas")
@translated
def change(request: HttpRequest) -> HttpResponse:
    """Sets what one subject may have; all fields empty removes its limits."""
    form = {name: value.replace("\0", "") for name, value in request.POST.items() if isinstance(value, str)}
    scope, subject = form.get("scope", ""), form.get("subject", "")
    try:
        if scope not in SCOPES:
            raise InvalidInputError("Choose whether this is for a person, a department or a profile.")
        limits.set_limits(Scope(scope), subject, amounts_form.parse(form), by=person(request))
    except InvalidInputError as error:
        context = {**_context(scope, subject), "error": str(error), "typed": form}
        return page(request, "quotas", context, status=422)
    messages.success(request, "Changed. What is there already stays.", extra_tags="good")
    return redirect("quotas")


def _context(scope: str, subject: str) -> dict[str, Any]:
    found = quota.overview()
    chosen = next((use for use in found.uses if (use.scope, use.subject) == (scope, subject)), None)
    typed = amounts_form.typed(chosen.own) if chosen else {}
    return {
        "groups": [
            {
                "title": title,
                "scope": scope_.value,
                "uses": [_row(use, everybody) for use in found.uses if use.scope == scope_],
            }
            for scope_, (title, everybody) in SCOPES.items()
        ],
        "queue": found.queue,
        "scopes": {scope_.value: title for scope_, (title, _) in SCOPES.items()},
        "fields": {name: label for name, (_, _, label) in amounts_form.FIELDS.items()},
        "typed": {**typed, "scope": scope, "subject": subject},
    }


def _row(use: quota.Use, everybody: str) -> dict[str, Any]:
    return {
        "subject": use.subject,
        "name": use.subject or everybody,
        "is_default": not use.subject,
        "cells": [_cell(use, resource) for resource in Resource],
    }


def _cell(use: quota.Use, resource: Resource) -> dict[str, Any]:
    """What is used of what is allowed; a default is nobody's, so nothing is used of it."""
    limit = use.limits.of(resource)
    allowed = "" if limit is None else number(resource, limit)
    used = "" if not use.subject else number(resource, use.used.of(resource))
    full = limit is not None and bool(use.subject) and use.used.of(resource) >= limit
    return {"used": used, "allowed": allowed, "own": use.own.of(resource) is not None, "full": full}
