"""Who calls. Only a bearer token counts: a browser's session opens nothing here, so no page can forge a call."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal
from portal.accounts.tokens import authenticate
from portal.api.problems import ForbiddenError


class ApiRequest(HttpRequest):
    """A request whose token was accepted: ninja sets `auth` to what `Bearer` gives back."""

    auth: User


class Bearer(HttpBearer):
    """A person with a valid token and any one of these permissions."""

    def __init__(self, *permissions: Permission) -> None:
        super().__init__()
        self.permissions = permissions

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        user = authenticate(token)
        if user is not None and not any(user.may(permission) for permission in self.permissions):
            raise ForbiddenError(refusal(self.permissions))
        return user
