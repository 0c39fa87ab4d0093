"""How much it matters that code was not looked at: by words that stand in it, of which searching costs little.

What neither runs nor starts anything is a table, whoever wrote it. What runs something *and* fetches or decodes is
what nobody should pass unread: a comment of two megabytes is all that an attacker needs to make a file too large.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from sandboxes.screening.detectors.reading_code import decoded
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Package

_LARGEST: Final = 64_000_000  # bytes of one file
_ALTOGETHER: Final = 128_000_000  # bytes of a package
_PIECE: Final = 1_000_000  # characters that are put into plain letters at once
_OVERLAP: Final = 30  # no word is longer

_ACT: Final = Words(
    (b"os.system", b"import system", b"subprocess", b"Popen", b"popen", b"startfile", b"marshal", b"ctypes",
     b"pickle.loads", b"exec_module", b"FunctionType", b"CodeType", b"run_path", b"os.spawn", b"os.exec",
     b"posix_spawn", b"__builtins__", b"builtins", b"__subclasses__", b"__import__", b"import_module"),
    patterns={"runs": r"(^|[^.\w])(exec|eval|execfile)\b"},
)  # fmt: skip
_FETCH: Final = Words((
    b"urlopen", b"urlretrieve", b"requests", b"httpx", b"aiohttp", b"urllib3", b"socket", b"HTTPConnection",
    b"HTTPSConnection", b"http.client", b"64decode", b"32decode", b"85decode", b"16decode", b"fromhex", b"unhexlify",
    b"decompress", b"ftplib", b"codecs.decode", b"a2b_", b"rot13", b"rot_13",
))  # fmt: skip


def acts(content: bytes) -> bool:
    return bool(_ACT.within(content))


def fetches(content: bytes) -> bool:
    """Or decodes."""
    return bool(_FETCH.within(content))


def by_threat(package: Package, paths: Iterable[str]) -> dict[Threat, list[str]]:
    """Files that were not looked at to their end."""
    found: dict[Threat, list[str]] = {}
    left = _ALTOGETHER
    for path in paths:
        member = package.member(path)
        if member is None or member.size > min(_LARGEST, left):
            threat = Threat.HIGH
        else:
            left -= member.size
            threat = _threat(member.read(_LARGEST))
        found.setdefault(threat, []).append(path)
    return found


def _threat(content: bytes) -> Threat:
    pieces = list(_pieces(content))
    if not any(map(acts, pieces)):
        return Threat.LOW
    return Threat.HIGH if any(map(fetches, pieces)) else Threat.MEDIUM


def _pieces(content: bytes) -> Iterator[bytes]:
    """As Python reads it: 𝘦𝘹𝘦𝘤 is exec, and a file may say an encoding of its own."""
    if content.isascii() and b"coding" not in content[:200]:
        yield content
        return
    text = decoded(content)
    for start in range(0, len(text), _PIECE):
        piece = text[max(start - _OVERLAP, 0) : start + _PIECE]
        yield unicodedata.normalize("NFKC", piece).encode("utf-8", "replace")
