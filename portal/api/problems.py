"""Every refusal and failure as application/problem+json (RFC 9457), with a `code` that does not change.

`type` is "about:blank": what a program should branch on is `code`, what a person
should read is `detail`. `errors` names the fields at fault, if there are any. An
error that nobody foresaw is logged, and says nothing of the inside.
"""

import json
import logging
import math
from collections.abc import Mapping
from http import HTTPStatus

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError

from sandboxes.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PetridishError,
    RefusedError,
    TemporaryError,
)

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER = 5  # seconds, when nobody said better
_STATUS: tuple[tuple[type[PetridishError], HTTPStatus], ...] = (
    (InvalidInputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (RefusedError, HTTPStatus.FORBIDDEN),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (TemporaryError, HTTPStatus.SERVICE_UNAVAILABLE),
)

logger = logging.getLogger(__name__)


class Problem(Schema):
    """What went wrong. `code` is stable; `errors` maps a field, such as "tools.0", to what is wrong with it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: dict[str, str] | None = None


class ForbiddenError(RefusedError):
    """The person lacks the permission that the endpoint asks for."""

    code = "forbidden"


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    errors: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """One problem as a response; a field that is not set is left out."""
    body = Problem(
        title=status.phrase, status=status, detail=detail, code=code, errors=dict(errors) if errors else None
    )
    content = json.dumps(body.model_dump(exclude_none=True))
    return HttpResponse(content, status=status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


def unknown_address(request: HttpRequest) -> HttpResponse:
    return problem(HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this address.")


def wrong_method(allow: str) -> HttpResponse:
    allow = ", ".join(sorted(allow.split(", ")))
    detail = f"This address takes {allow}."
    return problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail, headers={"Allow": allow})


def register(api: NinjaAPI) -> None:
    """Makes `api` answer each kind of error with a problem."""
    api.add_exception_handler(PetridishError, _petridish)
    api.add_exception_handler(ValidationError, _invalid)
    api.add_exception_handler(AuthenticationError, _unauthenticated)
    api.add_exception_handler(HttpError, _malformed)
    api.add_exception_handler(RequestDataTooBig, _too_large)
    api.add_exception_handler(PermissionDenied, _forbidden)
    api.add_exception_handler(Http404, _not_found)
    api.add_exception_handler(OperationalError, _database_unavailable)
    api.add_exception_handler(Exception, _unforeseen)


def _petridish(request: HttpRequest, error: PetridishError | type[PetridishError]) -> HttpResponse:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        return _unforeseen(request, error)
    errors: dict[str, str] | None = getattr(error, "errors", None)
    headers = {}
    if isinstance(error, TemporaryError):
        headers["Retry-After"] = str(math.ceil(error.retry_after or _RETRY_AFTER))
    return problem(status, error.code, str(error), errors=errors, headers=headers)


def _invalid(request: HttpRequest, error: ValidationError | type[ValidationError]) -> HttpResponse:
    """Pydantic's findings by field: the place without "body" and the parameter's name in front."""
    errors: dict[str, str] = {}
    for found in getattr(error, "errors", ()):
        source, *place = (str(part) for part in found["loc"])
        field = ".".join(place[1:] if source == "body" else place)
        errors.setdefault(field or source, found["msg"])
    detail = "; ".join(f"{field}: {message}" for field, message in errors.items())
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInputError.code, detail, errors=errors)


def _unauthenticated(request: HttpRequest, error: object) -> HttpResponse:
    detail = (
        "Send “Authorization: Bearer TOKEN” with an API token that is valid; your profile page makes one."
    )
    headers = {"WWW-Authenticate": "Bearer"}
    return problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", detail, headers=headers)


def _malformed(request: HttpRequest, error: object) -> HttpResponse:
    """Ninja's only other `HttpError` here: a body that does not parse."""
    return problem(HTTPStatus.BAD_REQUEST, "malformed", "The body is not JSON.")


def _too_large(request: HttpRequest, error: object) -> HttpResponse:
    detail = "The body is larger than this server takes."
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail)


def _forbidden(request: HttpRequest, error: object) -> HttpResponse:
    return problem(HTTPStatus.FORBIDDEN, ForbiddenError.code, "You may not do this.")


def _not_found(request: HttpRequest, error: object) -> HttpResponse:
    return unknown_address(request)


def _database_unavailable(request: HttpRequest, error: object) -> HttpResponse:
    """No connection, a lock not granted, a deadlock: nothing was written, and trying again may help."""
    logger.warning("%s %s: the database does not answer: %s", request.method, request.path, error)
    headers = {"Retry-After": str(_RETRY_AFTER)}
    detail = "The database does not answer now; nothing was changed."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, TemporaryError.code, detail, headers=headers)


def _unforeseen(request: HttpRequest, error: object) -> HttpResponse:
    cause = error if isinstance(error, BaseException) else None
    logger.error("%s %s failed", request.method, request.path, exc_info=cause)
    detail = "Something failed inside; it is in the log of the web process."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)
