"""Who may open a page. Every view asks here for a permission; nothing asks for a role."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal


def person(request: HttpRequest) -> User:
    """The person who is signed in; nobody is refused."""
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied("Sign in first.")
    return user


def require[**P](
    permission: Permission,
) -> Callable[
    [Callable[Concatenate[HttpRequest, P], HttpResponseBase]],
    Callable[Concatenate[HttpRequest, P], HttpResponseBase],
]:
    """Only people with `permission` reach the view.

    Nobody signed in: to the sign-in page, and back here afterwards. Signed in
    without the permission: the 403 page.
    """

    def decorate(
        view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _to_sign_in(request)
            if not person(request).may(permission):
                raise PermissionDenied(refusal([permission]))
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """Back to this page after signing in.

    A part of a page that htmx asked for goes nowhere by itself: the whole page
    goes, and comes back to the address the person was looking at.
    """
    if request.headers.get("HX-Request") != "true":
        back = request.get_full_path() if request.method in ("GET", "HEAD") else "/"
        return redirect_to_login(back)
    shown = request.headers.get("HX-Current-URL", "")
    if not url_has_allowed_host_and_scheme(shown, allowed_hosts={request.get_host()}):
        shown = "/"
    parts = urlsplit(shown)
    back = parts.path + (f"?{parts.query}" if parts.query else "")
    return HttpResponseClientRedirect(redirect_to_login(back).url)
