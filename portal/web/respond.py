"""What every screen answers with: a page or its part, nothing when nothing changed, and service errors as pages."""

from collections.abc import Callable, Mapping
from functools import wraps
from hashlib import sha256
from typing import Any, Concatenate

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.views.decorators.http import require_http_methods

from sandboxes.errors import NotFoundError, RefusedError

BIGGEST_ID = 2**63 - 1  # of a PostgreSQL bigint

type View[**P] = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def wants_part(request: HttpRequest) -> bool:
    """htmx asks for a part, except when it restores a page from history."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and headers.get("HX-History-Restore-Request") != "true"


def page(
    request: HttpRequest, screen: str, context: Mapping[str, Any], *, part: str = "", status: int = 200
) -> HttpResponse:
    """`web/<screen>/page.html`, or only its partial `part` when htmx asks. Never cached: pages are personal.

    `alone` in the template: only the part is drawn, so it may speak to the page around it.
    """
    alone = bool(part) and wants_part(request)
    template = f"web/{screen}/page.html{f'#{part}' if alone else ''}"
    response = render(request, template, {**context, "alone": alone}, status=status)
    patch_vary_headers(response, ["HX-Request"])
    add_never_cache_headers(response)
    return response


def fingerprint(*facts: object) -> str:
    """Changes when any of the facts does. A live part carries it, and asks whether it still holds."""
    return sha256(repr(facts).encode()).hexdigest()[:16]


def unchanged(request: HttpRequest, version: str) -> HttpResponse | None:
    """204 when the part on the screen is this version: htmx then leaves the page, focus and all, alone."""
    if wants_part(request) and request.GET.get("v") == version:
        return HttpResponse(status=204)
    return None


def translated[**P](view: View[P]) -> View[P]:
    """A service's refusals as the pages that HTTP has for them. Other errors are the view's to show."""

    @wraps(view)
    def answered(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except NotFoundError as error:
            raise Http404(str(error)) from error
        except RefusedError as error:
            raise PermissionDenied(str(error)) from error

    return answered


def posts_of[**P](to: str) -> Callable[[View[P]], View[P]]:
    """A view that takes a form's POST. Its address in the browser is left over from a form that came back with
    what was wrong: opened anew, it leads to the page `to`, which has the form."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def answered(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method == "POST":
                return view(request, *args, **kwargs)
            return HttpResponseRedirect(reverse(to, args=args, kwargs=kwargs))

        return require_http_methods(["GET", "HEAD", "POST"])(answered)

    return decorate


def cursor(request: HttpRequest, name: str) -> int | None:
    """A row's id from the address; anything else is as if it were not there."""
    text = request.GET.get(name, "")
    if not text.isascii() or not text.isdecimal():
        return None
    number = int(text[:20])
    return number if 0 < number <= BIGGEST_ID else None


def slice_of[T](rows: list[T], size: int) -> tuple[list[T], bool]:
    """Of `size + 1` rows that were asked for: those to show, and whether there are more."""
    return rows[:size], len(rows) > size


def search_text(request: HttpRequest, name: str = "q") -> str:
    """What was typed into a filter. PostgreSQL text holds no NUL."""
    return request.GET.get(name, "").replace("\0", "").strip()[:100]
