"""The bill of materials of a tool, over all sandboxes that declared it; a sandbox's own is with its exposures."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.reports import sbom
from portal.reports.export import kept_as
from portal.web.respond import search_text, translated
from sandboxes.errors import InvalidInputError, NotFoundError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening.sbom import MEDIA_TYPE
from sandboxes.usage.queries import declared_names

MOST_TOOLS = 10  # that a sandbox's page offers one by one


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def tool_sbom(request: HttpRequest) -> HttpResponse:
    """Of those sandboxes that the person may see."""
    tool = search_text(request, "tool")
    try:
        made = sbom.of_tool(tool, person(request))
    except InvalidInputError as error:
        raise NotFoundError(str(error)) from error
    headers = kept_as(f"tool-{slugify(tool)}.cdx.json")
    return HttpResponse(made, content_type=MEDIA_TYPE, headers=headers)


def shown(sandbox: Sandbox) -> dict[str, Any]:
    """The tools that a sandbox's page names: normalised, as they were declared."""
    return {"tools": list(declared_names(sandbox.tools))[:MOST_TOOLS]}
