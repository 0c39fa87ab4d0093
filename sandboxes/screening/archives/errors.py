"""Why an archive is not read. `str(error)` is a phrase for an approver."""


class ArchiveError(Exception):
    """Base of both. The file is held for it: what cannot be read cannot be judged."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LimitError(ArchiveError):
    """It is too much, or there is more of it than it says."""


class BrokenError(ArchiveError):
    """It cannot be read to its end, or different programs would read different things."""


class LockedError(BrokenError):
    """It needs a password."""
