"""The index's branch of the error tree: each error knows the HTTP status it becomes.

The message is shown to a person by pip and uv (as reason phrase and problem
details), so it never contains a credential or an upstream URL.
"""

from sandboxes.errors import PermanentError, RefusedError, TemporaryError

RETRY_AFTER = 2.0  # seconds; pip and uv wait this long and try again


class UnauthenticatedError(RefusedError):
    """No credentials, wrong ones, or those of a sandbox that is not ready (any more)."""

    code = "unauthenticated"


class UnknownError(PermanentError):
    """There is no such project or file."""

    code = "not_found"


class NotAcceptableError(PermanentError):
    """The client accepts none of the forms a page has."""

    code = "not_acceptable"


class UpstreamError(TemporaryError):
    """The upstream index does not answer, or answers something that cannot be used."""

    code = "upstream"


class UnavailableError(TemporaryError):
    """Something of our own does not work: the database, or the disk."""

    code = "unavailable"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=RETRY_AFTER)
