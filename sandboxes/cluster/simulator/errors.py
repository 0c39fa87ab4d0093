"""Refusals as the API server words them: a `Status` object with code, reason and causes."""

from typing import Any

from sandboxes.cluster.simulator.resources import Resource

type Json = dict[str, Any]


class ApiError(Exception):
    """An answer other than success (metav1.Status)."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details = details or {}

    def status(self) -> Json:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def _details(resource: Resource, name: str, causes: list[Json] | None = None) -> Json:
    details: Json = {"name": name, "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    return {**details, "causes": causes} if causes else details


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: no token, or a wrong one."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, message: str, causes: list[Json] | None = None) -> ApiError:
    """403 by admission or authorisation."""
    text = f'{resource.qualified} "{name}" is forbidden: {message}'
    return ApiError(403, "Forbidden", text, _details(resource, name, causes))


def not_found(resource: Resource, name: str) -> ApiError:
    """404: no such object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def no_such_path() -> ApiError:
    """404: no such resource at all."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: created before."""
    text = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", text, _details(resource, name))


def conflict(resource: Resource, name: str, message: str) -> ApiError:
    """409: a precondition does not hold."""
    text = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {message}'
    return ApiError(409, "Conflict", text, _details(resource, name))


def apply_conflict(causes: list[Json]) -> ApiError:
    """409: other managers own fields with other values."""
    listed = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    word = "conflict" if len(causes) == 1 else "conflicts"
    text = f"Apply failed with {len(causes)} {word}: {listed}"
    return ApiError(409, "Conflict", text, {"causes": causes})


def expired(message: str) -> ApiError:
    """410: the version asked for is no longer kept."""
    return ApiError(410, "Expired", message)


def unsupported_media_type(content_type: str) -> ApiError:
    """415."""
    text = f"the body of the request was in an unknown format - not accepted: {content_type!r}"
    return ApiError(415, "UnsupportedMediaType", text)


def invalid(resource: Resource, name: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """422: (reason, field, message) for each mistake."""
    listed = [{"reason": reason, "message": message, "field": field} for reason, field, message in causes]
    words = [f"{field}: {message}" for _, field, message in causes]
    text = f'{resource.kind} "{name}" is invalid: {words[0] if len(words) == 1 else words}'
    return ApiError(422, "Invalid", text, _details(resource, name, listed))
