"""How allauth makes and meets our people."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.http import HttpRequest
from django.shortcuts import render

from portal.accounts.models import User
from portal.accounts.permissions import Role


class AccountAdapter(DefaultAccountAdapter):
    """Local accounts are made by IT (`manage.py person`), never by a visitor."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """By account alone: allauth's own counts anew for each Host header, which the visitor writes."""
        return str(credentials.get("username") or credentials.get("email") or "").lower()


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Whoever the company's identity provider vouches for is an employee.

    Their name, address and department are taken from its claims at every
    sign-in, since people marry and move. Their role never is: it is given here,
    by people, and stands in the ledger.
    """

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: SocialAccount) -> str:
        return "/"  # linking one's local account works; there is no page that lists links

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        user.role = Role.EMPLOYEE
        sociallogin.petridish_profile = _profile(sociallogin, data, user.email)
        _apply(user, sociallogin.petridish_profile)
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """A person we know: what the provider says about them now holds. Else: nobody else has their address."""
        if sociallogin.is_existing:
            changed = _apply(sociallogin.user, sociallogin.petridish_profile)
            if changed:
                sociallogin.user.save(update_fields=changed)
        elif sociallogin.state.get("process") != AuthProcess.CONNECT:
            _refuse_taken_address(request, sociallogin.user.email)


def _refuse_taken_address(request: HttpRequest, email: str) -> None:
    """Two people with one address could not be told apart in the ledger; which is whose, IT decides."""
    if email and User.objects.filter(email__iexact=email).exists():
        reason = f"There is another account with the address {email}. Ask IT to settle which one is yours."
        page = render(request, "socialaccount/authentication_error.html", {"reason": reason}, status=409)
        raise ImmediateHttpResponse(page)


def _profile(sociallogin: SocialLogin, data: dict[str, Any], email: str) -> dict[str, str]:
    """Fields of `User` that the claims give. `data`: allauth's common fields, and all mapped SAML attributes."""
    claims: dict[str, Any] = sociallogin.account.extra_data.get("userinfo") or {}
    both = " ".join(filter(None, (data.get("first_name"), data.get("last_name"))))
    found = {
        "display_name": data.get("display_name") or data.get("name") or both,
        "department": data.get("department") or claims.get("department"),
    }
    profile = {name: _text(value) for name, value in found.items()} | {"email": email}
    return {name: value for name, value in profile.items() if value}


def _text(claim: object) -> str:
    """A claim as a line of text that fits; whatever is no text is as good as absent."""
    return " ".join(claim.split())[:150] if isinstance(claim, str) else ""


def _apply(user: User, profile: dict[str, str]) -> list[str]:
    """The names of the fields that changed."""
    changed = [name for name, value in profile.items() if getattr(user, name) != value]
    for name in changed:
        setattr(user, name, profile[name])
    return changed
