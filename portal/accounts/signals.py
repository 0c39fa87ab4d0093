"""Sign-ins and sign-outs go to the ledger. Signals, because allauth and Django offer no other hook."""

from typing import Any

from allauth.account.signals import user_logged_in
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from portal.accounts.models import User
from sandboxes.audit.services import record


@receiver(user_logged_in)
def signed_in(request: HttpRequest, user: User, **kwargs: Any) -> None:
    social = kwargs.get("sociallogin")
    method = social.account.provider if social else "password"
    _record(user, "person.signed_in", {"method": method})


@receiver(user_logged_out)
def signed_out(request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None:  # None: nobody was signed in
        _record(user, "person.signed_out", {})


def _record(person: User, action: str, data: dict[str, str]) -> None:
    with transaction.atomic():
        record(actor=person, action=action, subject=f"person:{person.pk}", data=data)
