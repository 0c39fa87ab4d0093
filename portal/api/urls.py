"""The API's addresses, /api/v1/…, and the health checks at the root."""

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from portal.api import health, problems
from portal.api.app import api

type View = Callable[..., HttpResponseBase]


def _finished(view: View) -> View:
    """What Ninja leaves to be done: a wrong method as a problem, and no answer kept by anything on the way.

    Without Django's check against forged forms: only a bearer token counts, which no page can make a browser send.
    """

    @wraps(view)
    def finished(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.status_code == 405:
            response = problems.wrong_method(response["Allow"])
        response["Cache-Control"] = "no-store"  # answers hold credentials and what only one person may see
        return response

    return csrf_exempt(finished)


def _api_patterns() -> list[URLPattern | URLResolver]:
    patterns: list[URLPattern | URLResolver] = api.urls[0]
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            document = pattern.name == "openapi-json"  # the one view here that takes any method
            pattern.callback = _finished(require_safe(pattern.callback) if document else pattern.callback)
    return patterns


_unknown = _finished(problems.unknown_address)

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("api/v1/", _unknown, name="api-root"),
    path("api/v1/", include((_api_patterns(), "ninja"), namespace="api")),
    re_path("^api(?:/|$)", _unknown, name="api-unknown"),
]
