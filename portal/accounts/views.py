"""Where allauth's own view does not fit."""

from allauth.account import views as account
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.accounts.access import person


@login_required
def change_password(request: HttpRequest) -> HttpResponse:
    """Whoever signs in through the identity provider has no password here: allauth would let them set one."""
    if not person(request).has_usable_password():
        messages.info(request, "Your password is kept by your identity provider; change it there.")
        return redirect("profile")
    answer: HttpResponse = account.password_change(request)
    return answer
