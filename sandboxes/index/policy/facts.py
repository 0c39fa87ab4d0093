"""What is known of one file when it is decided. Pure."""

from datetime import datetime

import msgspec

from sandboxes.screening.words import UNRATED, Ecosystem, Known, Screening, Severity

__all__ = ["UNRATED", "Candidate", "Ecosystem", "Known", "Screening", "Severity"]


class Candidate(msgspec.Struct, frozen=True):
    """A file that somebody wants, or that stands on a page. A page has thousands, so it is made in C.

    `uploaded_at` is the upstream's word; `seen_at` is when this index first saw the file listed;
    `absent_at` is the last time that it looked at that page and the file was not there. All in UTC.
    """

    ecosystem: Ecosystem
    project: str  # normalised
    version: str  # canonical; "" if the file's name does not tell
    filename: str
    sha256: str  # hex; npm: "" until the bytes are stored
    source: str  # the upstream's name
    built: bool  # a wheel, or an npm tarball; False: a source distribution
    seen_at: datetime
    uploaded_at: datetime | None = None
    absent_at: datetime | None = None
    size: int | None = None  # bytes; None: the upstream does not say
    yanked: bool = False  # by its own project
    advisories: tuple[Known, ...] = ()  # that affect this version
    fixes: tuple[Known, ...] = ()  # that affect the version it replaces, and not this one
    screening: Screening = Screening.UNKNOWN

    @property
    def released_at(self) -> datetime:
        """Since when it can have been had: no earlier than when it was still missing, whatever is claimed."""
        claimed = self.uploaded_at if self.uploaded_at is not None else self.seen_at
        return claimed if self.absent_at is None else max(claimed, self.absent_at)
