"""Reading wheels, sdists and npm tarballs without extracting them, within limits. Knows no Django.

Everything that an archive says of itself is a claim: sizes, numbers and checksums are counted while
reading. What breaks a limit is a `LimitError`, what cannot be read to its end a `BrokenError`; what
can be read and yet is odd is told in plain words (`Package.oddities`).
"""

from sandboxes.screening.archives.errors import ArchiveError, BrokenError, LimitError, LockedError
from sandboxes.screening.archives.inside import Inner, Trouble
from sandboxes.screening.archives.limits import DEFAULT, Limits
from sandboxes.screening.archives.opening import ArchivePackage, open_package

__all__ = [
    "DEFAULT",
    "ArchiveError",
    "ArchivePackage",
    "BrokenError",
    "Inner",
    "LimitError",
    "Limits",
    "LockedError",
    "Trouble",
    "open_package",
]
