"""The one error tree of everything that runs with nobody watching.

Library errors are translated into these at one border each (`sandboxes.cluster`
for Kubernetes, `sandboxes.index` for HTTP and files), and each says whether
trying again can help. `code` is stable: the API and the pages show it.
"""


class PetridishError(Exception):
    """Base of all. `str(error)` is a sentence that a person can act on."""

    code = "error"


class TemporaryError(PetridishError):
    """Trying again may help; `retry_after` (seconds) is when, if anyone said."""

    code = "temporary"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(PetridishError):
    """Trying again changes nothing: somebody must act."""

    code = "permanent"


class InvalidInputError(PermanentError):
    """What was given cannot be taken; nothing was changed."""

    code = "invalid"


class RefusedError(PermanentError):
    """Understood, and not allowed."""

    code = "refused"


class ConflictError(PermanentError):
    """Somebody else changed it first; look at it again."""

    code = "conflict"


class TemplateError(PermanentError):
    """A Kubernetes template is wrong; the message names file and line."""

    code = "template"


class ClusterUnavailableError(TemporaryError):
    """The cluster's API does not answer, or says it is too busy."""

    code = "cluster_unavailable"


class ClusterRefusedError(PermanentError):
    """The cluster's API answered, and refused (403, 409 of a lost precondition, 422)."""

    code = "cluster_refused"


class NotFoundError(PermanentError):
    """It does not exist, or the one who asks may not know that it does."""

    code = "not_found"
