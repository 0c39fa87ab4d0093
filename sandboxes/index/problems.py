"""Errors as answers: the reason where pip shows it (status line), the whole where uv shows it (problem details)."""

import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from sandboxes.errors import PetridishError
from sandboxes.index.errors import (
    NameNotGivenError,
    NotAcceptableError,
    NotGivenError,
    UnauthenticatedError,
    UnavailableError,
    UnknownError,
    UnusableError,
    UpstreamError,
)

logger = logging.getLogger(__name__)

_STATUS: dict[type[PetridishError], HTTPStatus] = {
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    UnknownError: HTTPStatus.NOT_FOUND,
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    # pip shows no reason with a 5xx, and all clients ask again at one.
    UnusableError: HTTPStatus.FAILED_DEPENDENCY,
    UpstreamError: HTTPStatus.BAD_GATEWAY,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
LONGEST_REASON = 200  # characters

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes a problem document, the router's own (404, 405) too."""
    try:
        return await handler(request)
    except PetridishError as error:
        return problem(error)
    except web.HTTPError as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        code = error.reason.lower().replace(" ", "_")
        return _answer(HTTPStatus(error.status), code, f"{error.reason}: {request.path}", headers)
    except (
        web.HTTPException,
        ConnectionError,
    ):  # no error, or the client hung up: both are aiohttp's to handle
        raise
    except Exception:
        # What broke is for the log: details could tell a sandbox about hosts, paths and values.
        logger.exception("%s %s", request.method, request.path)
        return _answer(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "The index failed; its log says why.", {}
        )


def unreadable(status: HTTPStatus) -> web.Response:
    """For what is no request that a handler could be asked; its bytes may be anything, so they are not repeated."""
    detail = (
        "The index failed; its log says why." if status >= 500 else "This is no request that can be read."
    )
    return _answer(status, status.name.lower(), detail, {})


def unsatisfiable(what: str, size: int) -> web.Response:
    """RFC 9110, 15.5.17: a range that begins behind the end; `size` in bytes."""
    headers = {"Content-Range": f"bytes */{size}"}
    detail = f"{what} has {size} bytes and none of those that were asked for."
    return _answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "range", detail, headers)


def problem(error: PetridishError) -> web.Response:
    if isinstance(error, NotGivenError):
        return _refused(error)
    kinds = (kind for kind in type(error).__mro__ if kind in _STATUS)
    status = _STATUS[kind] if (kind := next(kinds, None)) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {}
    if status is HTTPStatus.UNAUTHORIZED:
        # RFC 9110, 15.5.2 wants a challenge with every 401. Tried with pip 23.2, pip 26.3 and uv 0.13: with and
        # without it they do the same. Wrong credentials in the index URL: pip asks nobody, tries once more and ends;
        # uv ends. None at all: pip asks once for a user name (PIP_NO_INPUT stops that), uv ends.
        headers["WWW-Authenticate"] = 'Basic realm="Petridish sandbox", charset="UTF-8"'
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = f"{error.retry_after:.0f}"
    return _answer(status, error.code, str(error), headers)


def _refused(error: NotGivenError) -> web.Response:
    """403: pip stops and shows the reason phrase, uv stops and shows title and detail. Neither tries again.

    A page is refused with 451: at a 403 there, uv says something of credentials instead.
    """
    told = error.refusal
    page = isinstance(error, NameNotGivenError)
    status = HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS if page else HTTPStatus.FORBIDDEN
    document: dict[str, object] = {
        "title": told.title,
        "status": status.value,
        "detail": told.detail,
        "code": error.code,
        "rule": told.rule,
        "until": told.until.isoformat().replace("+00:00", "Z") if told.until else None,
        "why": told.why,
        "waivable": told.waivable,
    }
    return _document(status, document, told.phrase, {})


def _answer(status: HTTPStatus, code: str, detail: str, headers: dict[str, str]) -> web.Response:
    document: dict[str, object] = {
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
    }
    return _document(status, document, reason_phrase(detail), headers)


def _document(
    status: HTTPStatus, document: dict[str, object], reason: str, headers: dict[str, str]
) -> web.Response:
    """RFC 9457. The content type carries no charset: uv compares it for equality."""
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", **headers}
    return web.Response(status=status, reason=reason, body=json.dumps(document).encode(), headers=headers)


def reason_phrase(text: str) -> str:
    """`text` as an HTTP/1.1 reason phrase: printable ASCII on one line, short."""
    printable = "".join(char if " " <= char <= "~" else "?" for char in " ".join(text.split()))
    return printable[:LONGEST_REASON]
