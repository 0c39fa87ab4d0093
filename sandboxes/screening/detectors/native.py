"""Machine code where none belongs, and what cannot be looked into.

A wheel tagged `none-any` says it has no machine code; source distributions and npm packages are source. Programs
under the name of a picture or a text are disguised. Archives inside archives are told, and large opaque files, because
nobody looked into them.
Would have caught: ua-parser-js's `jsextension` miner, "ultralytics"-like bundled miners, "pymafka" and other droppers
with a PE in a pure wheel, xz's crafted "test files" (told as opaque, no more).
Costs: the first bytes of each member; whether a file is opaque is asked of at most 500.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

from sandboxes.screening.detectors.judging import gravest
from sandboxes.screening.detectors.reading_code import in_tests
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Member, Package

_MEASURED: Final = 500  # members of a package of which is asked whether they are packed or encrypted
_MAGIC: Final = 8
_HEAD: Final = 4096
_BLOB: Final = 65_536  # bytes from which on an opaque file is told of
_OPAQUE: Final = 7.9  # bits a byte
_TEXTS: Final = (
    ".pyi",
    ".po",
    ".pot",
    ".rst",
    ".md",
    ".html",
    ".css",
    ".h",
    ".c",
    ".cpp",
    ".pxd",
    ".pyx",
    ".typed",
)
_INNOCENT: Final = re.compile(
    r"\.(?:txt|md|rst|json|ya?ml|toml|csv|tsv|xml|html?|css|jsx?|ts|pyi?|png|jpe?g|gif|svg|ico|bmp|webp|woff2?|ttf|otf"
    r"|mp[34]|wav|pdf|po|log|cfg|ini)$"
)
_LAUNCHERS: Final = re.compile(r"(?:^|/)(?:t|w|cli|gui)(?:-?(?:32|64|arm|arm64|arm-32))*(?:-arm64)?\.exe$")
_ARCHIVES: Final = re.compile(
    r"\.(?:zip|whl|egg|jar|tar|t?gz|tgz|bz2|xz|7z|rar|zst|cab|dmg|iso|msi|deb|rpm|apk|asar)$"
)
_KNOWN_BINARY: Final = re.compile(
    r"\.(?:so(?:\.[\d.]+)?|pyd|dll|dylib|a|lib|o|obj|exe|node|wasm|mo|npy|npz|pkl|pickle|h5|hdf5|parquet|feather|onnx|pb"
    r"|tflite|pt|pth|safetensors|db|sqlite3?|dat|bin|pyc|png|jpe?g|gif|ico|webp|woff2?|ttf|otf|eot|mp[34]|wav|ogg|pdf|gz"
    r"|zip|whl|bz2|xz|tar|zst|br|jar|gpkg|tiff?|fits?|nc|mat|avif|icns|qm|rds|rda|webm|flac|dic|afm|pfb)$"
)
_SCRIPTS: Final = (".lnk", ".vbs", ".vbe", ".hta", ".scr", ".wsf", ".jse", ".cpl", ".msi")


def look(package: Package, former: Package | None) -> Iterator[Found]:
    pure = package.kind is Kind.WHEEL and package.facts.filename.endswith("-none-any.whl")
    ranks = {id(each): rank for rank, each in enumerate(sorted(package.members, key=_interest))}
    found: list[tuple[int, Found]] = []
    # Read as they lie: what lies behind is reached through all that is before it.
    for member in package.members:
        rank = ranks[id(member)]
        if member.size >= 4:
            measured = rank < _MEASURED and not member.path.lower().endswith(_TEXTS)
            found += [(rank, each) for each in _of_member(package, member, pure=pure, measured=measured)]
    yield from gravest((each for _, each in sorted(found, key=itemgetter(0))), most=3)


def _interest(member: Member) -> tuple[int, int]:
    """Programs and unknown endings first, then pictures and texts, Python last; large ones before small ones."""
    path = member.path.lower()
    if path.endswith((".py", *_TEXTS)):
        return (2, -member.size)
    return (1 if _INNOCENT.search(path) else 0, -member.size)


def _of_member(package: Package, member: Member, *, pure: bool, measured: bool) -> Iterator[Found]:
    path = member.path.lower()
    magic = member.read(_MAGIC)
    head = member.read(_HEAD) if measured or magic.startswith(_PROGRAMS) else magic
    machine = machine_code(head)
    if machine:
        yield from _machine_code(package, member, machine, pure=pure)
    elif path.endswith(_SCRIPTS) and not in_tests(path, package.kind):
        yield _found(member, "windows-script", Threat.MEDIUM, "A file that Windows runs when it is opened")
    elif _is_archive(head):
        yield from _archive(member, head, package.kind)
    elif measured and not _KNOWN_BINARY.search(path) and not _INNOCENT.search(path) and member.size >= _BLOB:
        yield from _opaque(member)


# What a program may begin with; `machine_code` looks closer.
_PROGRAMS: Final = (
    b"\x7fELF", b"MZ", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)  # fmt: skip


def machine_code(head: bytes) -> str:
    """Which kind of program or library begins like this; empty: none."""
    if head.startswith(b"\x7fELF"):
        return "ELF"
    if head.startswith(b"MZ") and (b"PE\0\0" in head or b"This program" in head):
        return "PE"
    if head[:4] in (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"):
        return "Mach-O"
    # Java classes begin alike; their version stands where a count of at most a few parts would.
    if head.startswith(b"\xca\xfe\xba\xbe") and 0 < int.from_bytes(head[4:8], "big") < 20:
        return "Mach-O"
    return ""


def _machine_code(package: Package, member: Member, machine: str, *, pure: bool) -> Iterator[Found]:
    path = member.path.lower()
    if _LAUNCHERS.search(path) and member.size < 300_000:
        yield _found(
            member, "launcher", Threat.LOW, "A launcher of scripts for Windows, as installers have them"
        )
    elif _INNOCENT.search(path):
        yield _found(
            member, "disguised", Threat.CRITICAL, f"Machine code ({machine}) under the name of something else"
        )
    elif in_tests(path, package.kind):
        yield _found(member, "in-tests", Threat.LOW, f"Machine code ({machine}) among tests")
    elif pure:
        yield _found(
            member, "in-pure-wheel", Threat.HIGH, f"Machine code ({machine}) in a wheel that says it has none"
        )
    elif package.kind is not Kind.WHEEL:
        usual = path.endswith((".node", ".dll", ".so", ".dylib", ".pyd", ".wasm"))
        threat = Threat.MEDIUM if usual else Threat.HIGH
        yield _found(member, "in-source", threat, f"Machine code ({machine}) in what should be source")
    elif _foreign(package.facts.filename, machine):
        yield _found(
            member, "foreign", Threat.MEDIUM, f"Machine code ({machine}) of another platform than the wheel's"
        )


def _foreign(filename: str, machine: str) -> bool:
    own = {"ELF": ("linux", "android"), "PE": ("win",), "Mach-O": ("macosx", "ios")}[machine]
    tag = filename.removesuffix(".whl").rsplit("-", 1)[-1]
    return not any(each in tag.replace("darwin", "") for each in own)


def _is_archive(head: bytes) -> bool:
    return head.startswith(
        (b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf", b"Rar!\x1a", b"MSCF")
    )


def _archive(member: Member, head: bytes, kind: Kind) -> Iterator[Found]:
    path = member.path.lower()
    if head.startswith(b"PK\x03\x04") and len(head) >= _MAGIC and head[6] & 1 and not in_tests(path, kind):
        yield _found(member, "encrypted-archive", Threat.HIGH, "An archive inside, which needs a password")
    elif _INNOCENT.search(path) and not path.endswith(".json"):
        yield _found(member, "disguised-archive", Threat.HIGH, "An archive under the name of something else")
    elif _ARCHIVES.search(path):
        yield _found(member, "nested-archive", Threat.LOW, "An archive inside")


def _opaque(member: Member) -> Iterator[Found]:
    if entropy(member.read(_BLOB)) > _OPAQUE:
        yield _found(
            member, "opaque", Threat.MEDIUM, "A large file that is packed or encrypted, of no known kind"
        )


def entropy(content: bytes) -> float:
    """Bits a byte."""
    if not content:
        return 0.0
    total = len(content)
    return -sum(count / total * math.log2(count / total) for count in Counter(content).values())


def _found(member: Member, rule: str, threat: Threat, why: str) -> Found:
    return Found(
        rule=f"native.{rule}", ability=Ability.NATIVE, threat=threat, why=f"{why}.", path=member.path
    )
