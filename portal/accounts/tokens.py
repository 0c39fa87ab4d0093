"""Personal API tokens: shown once, stored as a digest, named, expiring, revocable.

A token is `pdt_` and 43 characters, 256 random bits. So much chance needs no
slow hash: one SHA-256 is looked up in a unique index, and how long that takes
says nothing about any other token.
"""

import secrets
from datetime import timedelta
from hashlib import sha256

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from portal.accounts.models import ApiToken, User
from portal.accounts.permissions import Permission
from sandboxes.audit.services import record
from sandboxes.errors import InvalidInputError, RefusedError

PREFIX = "pdt_"
LONGEST = timedelta(days=366)
HINT_LENGTH = 10
USE_NOTED_EVERY = timedelta(minutes=1)


def issue(*, user: User, name: str, expires_in: timedelta, by: User | None) -> tuple[ApiToken, str]:
    """A new token for `user` and its text, which is kept nowhere. `by` None: Petridish itself."""
    name = name.strip()
    if not 0 < len(name) <= 100:
        raise InvalidInputError("A token needs a name of at most 100 characters.")
    if not timedelta(0) < expires_in <= LONGEST:
        raise InvalidInputError(f"A token lasts at most {LONGEST.days} days.")
    if by is not None and by != user:
        raise RefusedError("A token is made by the person it speaks for.")
    if not user.is_active:
        raise RefusedError("This account is disabled.")
    text = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user,
            name=name,
            digest=_digest(text),
            hint=text[:HINT_LENGTH],
            expires_at=timezone.now() + expires_in,
        )
        data = {"name": name, "for": user.username, "expires_at": token.expires_at.isoformat()}
        record(actor=by, action="token.issued", subject=f"token:{token.pk}", data=data)
    return token, text


def authenticate(text: str) -> User | None:
    """Whom a token speaks for; None when it is unknown, expired, revoked or its person disabled."""
    if not text.startswith(PREFIX):
        return None
    now = timezone.now()
    live = ApiToken.objects.filter(revoked_at=None, expires_at__gt=now, user__is_active=True)
    token = live.select_related("user").filter(digest=_digest(text)).first()
    if token is None:
        return None
    _note_use(token)
    return token.user


def revoke(token: ApiToken, *, by: User) -> None:
    """Ends a token at once. One's own, or anybody's for who manages people. Twice is as good as once."""
    if by.pk != token.user_id and not by.may(Permission.MANAGE):
        raise RefusedError("This is somebody else's token.")
    with transaction.atomic():
        revoked = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
        if revoked:
            data = {"name": token.name, "for": token.user.username}
            record(actor=by, action="token.revoked", subject=f"token:{token.pk}", data=data)
    token.refresh_from_db(fields=["revoked_at"])


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _note_use(token: ApiToken) -> None:
    """At most once a minute: a busy script must not write a row per call."""
    now = timezone.now()
    if token.last_used_at is not None and token.last_used_at > now - USE_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
