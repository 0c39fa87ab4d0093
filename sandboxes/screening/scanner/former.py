"""The file of the release before: of it only the bytes are known, so its kind is seen from them."""

import os
from typing import Final

from msgspec.structs import replace

from sandboxes.screening.archives import ArchiveError, ArchivePackage, BrokenError, open_package
from sandboxes.screening.package import Facts

_MAGIC: Final = ((b"PK", ".whl"), (b"\x1f\x8b", ".tar.gz"), (b"BZh", ".tar.bz2"), (b"\xfd7zXZ\0", ".tar.xz"))


def open_former(file: int, facts: Facts) -> tuple[ArchivePackage | None, str | None]:
    """It, or why it cannot be read. That is no reason to hold this one: it was judged in its own time."""
    try:
        return open_package(file, _facts(file, facts)), None
    except ArchiveError as error:
        return None, error.reason


def _facts(file: int, facts: Facts) -> Facts:
    return replace(
        facts,
        filename=f"former{_ending(file, facts)}",
        version=facts.former_version,
        provenance=facts.former_provenance,
        uploaded_at="",
        former_version="",
        former_provenance=False,
    )


def _ending(file: int, facts: Facts) -> str:
    """As its bytes say; a zip is a wheel unless this file is itself an sdist in a zip."""
    try:
        head = os.pread(file, 8, 0)
    except OSError as error:
        raise BrokenError(f"it cannot be read: {error.strerror}") from error
    for magic, ending in _MAGIC:
        if head.startswith(magic):
            return ".zip" if ending == ".whl" and facts.filename.lower().endswith(".zip") else ending
    raise BrokenError("it is no archive that is read")
