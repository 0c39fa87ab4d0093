"""The API as a whole: its routers, its JSON and its OpenAPI document.

There is no page that shows the document: such pages load scripts from elsewhere.
"""

import json
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.http.request import QueryDict
from django.utils.datastructures import MultiValueDict
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder

from portal.api import (
    advisories,
    audit,
    egress,
    exposure,
    kept_back,
    policy,
    policy_logs,
    problems,
    reports,
    requests,
    run_time,
    sandboxes,
    verdicts,
    waivers,
)
from portal.api.operations import router as operations_router

_DESCRIPTION = (
    "Every call but this document needs “Authorization: Bearer TOKEN” with a personal API token. "
    "Times are ISO 8601 in UTC, durations ISO 8601. Lists are arrays; a Link header with rel=next leads on. "
    "Errors are application/problem+json; branch on their `code`."
)
_REF = "#/components/schemas/Problem"


class _Encoder(NinjaJSONEncoder):
    """Times in UTC with all their microseconds: the ledger's macs are made over them."""

    def default(self, o: Any) -> Any:
        if isinstance(o, datetime):
            return o.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return super().default(o)


class _Renderer(JSONRenderer):
    encoder_class: type[json.JSONEncoder] = _Encoder


class _Parser(Parser):
    """A parameter that is empty ("?state=") is one that was not given."""

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        given = QueryDict(mutable=True)
        for name, values in data.lists():
            if any(values):
                given.setlist(name, [value for value in values if value])
        return super().parse_querydict(given, list_fields, request)


class PetridishAPI(NinjaAPI):
    """Ninja, with problems as errors: in the document as in the answers."""

    def __init__(self) -> None:
        super().__init__(
            title="Petridish",
            version="1",
            description=_DESCRIPTION,
            urls_namespace="api",
            docs_url=None,
            renderer=_Renderer(),
            parser=_Parser(),
        )
        self._document: OpenAPISchema | None = None
        problems.register(self)

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Made once: it is open to all and the same for all."""
        if self._document is None:
            document = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
            document["components"]["schemas"]["Problem"] = problems.Problem.json_schema()
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"]["default"] = {
                        "description": "A problem",
                        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF}}},
                    }
            self._document = document
        return self._document


api = PetridishAPI()
api.add_router("/requests", requests.router)
api.add_router("/sandboxes", sandboxes.router)
api.add_router("/sandboxes", operations_router)
api.add_router("/sandboxes", egress.router)
api.add_router("/sandboxes", kept_back.router)
api.add_router("/sandboxes", run_time.router)
api.add_router("/sandboxes", exposure.of_sandboxes)
api.add_router("/exposure", exposure.router)
api.add_router("/waivers", waivers.router)
api.add_router("/policy", policy.router)
api.add_router("/policy-logs", policy_logs.router)
api.add_router("/advisories", advisories.router)
api.add_router("/verdicts", verdicts.router)
api.add_router("/reports", reports.router)
api.add_router("/audit", audit.router)
