"""Alarms: what is open, what was cleared, and by whom."""

from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.web.respond import fingerprint, page, translated, unchanged
from sandboxes.lifecycle import alarms as lifecycle
from sandboxes.lifecycle.models import Alarm

MOST: Final = 100
CLEARED: Final = 20


@require(Permission.SEE_ALARMS)
@require_safe
def alarms(request: HttpRequest) -> HttpResponse:
    open_ = list(Alarm.objects.filter(cleared_at=None).order_by("-id")[:MOST])
    closed = list(
        Alarm.objects.exclude(cleared_at=None).select_related("cleared_by").order_by("-id")[:CLEARED]
    )
    version = fingerprint([(alarm.pk, alarm.count) for alarm in open_], [alarm.pk for alarm in closed])
    if same := unchanged(request, version):
        return same
    context = {"open": open_, "closed": closed, "version": version}
    return page(request, "alarms", context, part="list")


@require(Permission.OPERATE)
@require_POST
@translated
def clear(request: HttpRequest, alarm_id: int) -> HttpResponse:
    lifecycle.clear_one(alarm_id, by=person(request))
    messages.success(request, "Cleared. It comes back if its cause is still there.", extra_tags="good")
    return redirect("alarms")
