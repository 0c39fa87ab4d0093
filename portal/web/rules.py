"""How decisions are made: the rules in the order policy reads them, in plain words, for everybody."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from portal.accounts.access import require
from portal.accounts.permissions import Permission
from portal.approvals.policy import snapshot
from portal.approvals.rules import active_rules
from portal.web.respond import page


@require(Permission.REQUEST_SANDBOX)
@require_safe
def rules(request: HttpRequest) -> HttpResponse:
    return page(request, "rules", {"rules": [snapshot(rule) for rule in active_rules()]})
