"""The forms on a sandbox's page that put it to sleep, cut it off or hold it. Each goes back to that page."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import operations
from portal.web.respond import translated
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.lifecycle.models import Sandbox

_LONGEST = 4000  # characters of a reason


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def hibernate(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    def act() -> Sandbox:
        return operations.hibernate(sandbox_id, by=person(request))

    return _done(request, sandbox_id, act, "It is going to sleep. Its lease goes on.")


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def wake(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    def act() -> Sandbox:
        return operations.wake(sandbox_id, by=person(request))

    return _done(request, sandbox_id, act, "It is waking up. The seal is tested first, as always.")


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def isolate(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    def act() -> Sandbox:
        return operations.isolate(sandbox_id, by=person(request), reason=_reason(request))

    return _done(request, sandbox_id, act, "Isolated. Its index token stopped working with this click.")


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def release(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    def act() -> Sandbox:
        return operations.release(sandbox_id, by=person(request), reason=_reason(request))

    return _done(request, sandbox_id, act, "Released. It opens once its seal is proven again.")


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def hold(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    def act() -> Sandbox:
        until = _end_of_day(request.POST.get("until", ""))
        return operations.hold(sandbox_id, by=person(request), until=until, reason=_reason(request))

    return _done(request, sandbox_id, act, "Held. Nothing ends it before that date.")


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def lift(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    def act() -> Sandbox:
        return operations.lift(sandbox_id, by=person(request), reason=_reason(request))

    return _done(request, sandbox_id, act, "The hold is lifted. The lease counts again.")


def shown(viewer: User, sandbox: Sandbox) -> dict[str, object]:
    """What the page's parts about this need."""
    return {
        "offered": operations.offered(viewer, sandbox),
        "reasons": sandbox.isolation_reason.splitlines(),
        "ask": operations.whom_to_ask(sandbox) if sandbox.isolated_at else [],
        "held": sandbox.hold_until is not None and sandbox.hold_until > timezone.now(),
        "now": timezone.now(),
        "tomorrow": f"{timezone.now() + timedelta(days=1):%Y-%m-%d}",
    }


def _done(request: HttpRequest, sandbox_id: int, act: Callable[[], Sandbox], said: str) -> HttpResponse:
    try:
        act()
    except InvalidInputError as error:
        messages.error(request, str(error), extra_tags="bad")
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, said, extra_tags="good")
    return redirect("sandbox", sandbox_id)


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").replace("\0", "")[:_LONGEST]


def _end_of_day(text: str) -> datetime:
    """A date means its whole day, in UTC."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 -- only its date is used
    except ValueError as error:
        raise InvalidInputError("Say until which day it is held.") from error
    return datetime.combine(day.date(), time(23, 59, 59), tzinfo=UTC)
