"""How much an archive may be. Generous to what people really publish: a wheel may hold a gigabyte of CUDA."""

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

READ: Final = 16 * MIB  # bytes of one member that are given unless more is asked for


@dataclass(frozen=True, slots=True)
class Limits:
    members: int = 100_000  # of all kinds; folders and links count
    member: int = 4 * GIB  # bytes of one, unpacked
    total: int = 8 * GIB  # bytes of all, unpacked
    member_ratio: int = 300  # unpacked to packed, of one member
    ratio: int = 100  # the same of the whole
    floor: int = (
        32 * MIB
    )  # unpacked bytes below which no ratio is looked at: small files of zeros are harmless
    path: int = 1024  # characters
    depth: int = 64  # folders above a member
    names: int = 64 * MIB  # bytes that a zip's directory may have: it is read whole
    extra: int = MIB  # bytes of one tar header that describes the next: read whole too
    oddities: int = 100  # that are told; the others are counted
    cache: int = 64 * MIB  # bytes of members that are kept for the next detector
    most: int = 64 * MIB  # bytes of one member that are ever in memory at once
    # Of the archives inside it, all levels together:
    nesting: int = 5  # levels
    inside_members: int = 200_000
    inside_total: int = 4 * GIB  # bytes, unpacked; `ratio` and `floor` hold for them too
    inside_held: int = 256 * MIB  # bytes of archives that are in memory at once, one within the other
    inside_seconds: float = 20.0  # of the processor


DEFAULT: Final = Limits()


def said(size: int) -> str:
    """A number of bytes, as a person says it."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
