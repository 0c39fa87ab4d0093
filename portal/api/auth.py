"""Who calls. Only a bearer token counts: a browser's session opens nothing here, so no page can forge a call."""

from collections.abc import Callable

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
    """A person with a valid token and any one of these permissions; or a program, by a token that `program` knows.

    A program is nobody: `auth` is then a user who is not saved, and nothing may be done in their name.
    """

    def __init__(self, *permissions: Permission, program: Callable[[str], bool] | None = None) -> None:
        super().__init__()
        self.permissions = permissions
        self._program = program

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        if self._program is not None and self._program(token):
            return User(username="program")
        user = authenticate(token)
        if user is not None and not any(user.may(permission) for permission in self.permissions):
            raise ForbiddenError(refusal(self.permissions))
        return user
