"""The index's branch of the error tree: each error knows the HTTP status it becomes.

The message is shown to a person by pip and uv (as reason phrase and problem
details), so it never contains a credential or an upstream URL.
"""

from dataclasses import dataclass
from datetime import datetime

from sandboxes.errors import PermanentError, RefusedError, TemporaryError

RETRY_AFTER = 2.0  # seconds; pip and uv wait this long and try again


class UnauthenticatedError(RefusedError):
    """No credentials, wrong ones, or those of a sandbox that is not ready (any more)."""

    code = "unauthenticated"


class UnknownError(PermanentError):
    """There is no such project or file."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a person is told of a file that policy does not give; written in `refusals.py`."""

    rule: str
    title: str  # the rule in a few words
    phrase: str  # for the status line: printable ASCII, short
    detail: str  # everything
    why: str  # the URL of the page that explains it
    until: datetime | None  # when it opens by itself
    waivable: bool


class NotGivenError(RefusedError):
    """Policy does not give this file to this sandbox."""

    code = "policy"

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class NameNotGivenError(NotGivenError):
    """The same of a whole project, whose page nobody may be asked for."""


class NotAcceptableError(PermanentError):
    """The client accepts none of the forms a page has."""

    code = "not_acceptable"


class UpstreamError(TemporaryError):
    """The upstream index does not answer, or not in time, or fails."""

    code = "upstream"


class UnusableError(UpstreamError):
    """It answers what cannot be used, and will again: a verdict, which no client is to ask for twice.

    An `UpstreamError` nonetheless: whoever does without an upstream that fails does without this, too.
    """


class UnavailableError(TemporaryError):
    """Something of our own does not work: the database, or the disk."""

    code = "unavailable"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=RETRY_AFTER)
