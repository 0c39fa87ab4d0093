"""Which kind of archive a member is, by its bytes: names are whatever somebody liked."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sandboxes.screening.archives import unpacking
from sandboxes.screening.archives.errors import ArchiveError
from sandboxes.screening.archives.limits import READ
from sandboxes.screening.archives.members import FileMember
from sandboxes.screening.archives.source import Held
from sandboxes.screening.archives.tar_headers import BLOCK, has_sum
from sandboxes.screening.archives.unpacking import Unpacker, step
from sandboxes.screening.archives.zip_end import is_also_zip

HEAD: Final = 4096
_ZIP_END, _ZIP_TAIL = b"PK\x05\x06", 65_557  # bytes within which it is
_PACKED: Final[dict[bytes, Callable[[], Unpacker]]] = {
    b"\x1f\x8b\x08": unpacking.gzip,
    b"BZh": unpacking.bzip2,
    b"\xfd7zXZ\0": unpacking.xz,
}
_UNREAD: Final = {
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "RAR", b"MSCF\0\0\0\0": "CAB", b"\x28\xb5\x2f\xfd": "Zstandard",
}  # fmt: skip
_CODE: Final = (".py", ".pyw", ".pyc", ".pth", ".js", ".cjs", ".mjs", ".sh", ".ps1", ".bat", ".cmd", ".exe",
                ".dll", ".so", ".pyd", ".dylib", ".node")  # fmt: skip
_PROGRAMS: Final = (b"#!", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


class Form(StrEnum):
    ZIP = "zip"
    TAR = "tar"
    SINGLE = "single"  # one file, compressed: a program, or another archive
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Seen:
    form: Form
    start: Callable[[], Unpacker] | None = None  # of its compression
    magic: bytes = b""
    name: str = ""  # of a form that is not read


def seen(member: FileMember) -> Seen | None:
    """None: no archive. Members up to `READ` bytes are read whole, which the detectors do as well."""
    if member.size < 20:
        return None
    whole = member.size <= READ
    data = member.read() if whole else member.read(HEAD)
    if data.startswith(b"PK\x03\x04") or (whole and _ends_as_zip(data)):
        return Seen(Form.ZIP)
    for magic, start in _PACKED.items():
        if data.startswith(magic):
            return _packed(member.path, data[:HEAD], start, magic)
    if member.size % BLOCK == 0 and is_tar(data[:BLOCK]):
        return Seen(Form.TAR)
    name = next((name for magic, name in _UNREAD.items() if data.startswith(magic)), "")
    return Seen(Form.UNREAD, name=name) if name else None


def is_tar(block: bytes) -> bool:
    """Its checksum says so: other bytes hardly ever have one."""
    return len(block) == BLOCK and bool(block[0]) and has_sum(block)


def _ends_as_zip(data: bytes) -> bool:
    """Behind whatever stands first: a picture, a program, a script that Python runs as a zip."""
    return data.rfind(_ZIP_END, max(0, len(data) - _ZIP_TAIL)) >= 0 and is_also_zip(Held(data))


def _packed(path: str, head: bytes, start: Callable[[], Unpacker], magic: bytes) -> Seen | None:
    """A lone file that is compressed is data, unless its name or its beginning says otherwise."""
    try:
        inside = step(start(), head, path)
    except ArchiveError:
        return None  # it only begins like that
    if is_tar(inside[:BLOCK]):
        return Seen(Form.TAR, start, magic)
    interesting = path.rpartition(".")[0].lower().endswith(_CODE) or inside.startswith(
        (b"PK\x03\x04", *_PROGRAMS, *_PACKED, *_UNREAD)
    )
    return Seen(Form.SINGLE, start, magic) if interesting else None
