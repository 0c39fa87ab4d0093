"""Archives that cannot be read to their end, or that two programs would read differently."""

import gzip
import struct
import zlib
from pathlib import Path

import pytest

from sandboxes.screening.archives import BrokenError
from sandboxes.screening.package import Facts
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL, Lie, as_read, opened, zipped

GOOD_ZIP = made.wheel({"a.py": b"x = 1\n" * 100, "b.py": b""})
GOOD_TAR = made.sdist({"t/a.py": bytes(range(256)) * 100})
UNICODE = struct.pack("<HHBL", 0x7075, 5 + 8, 1, zlib.crc32(b"evil.pth")) + b"nice.txt"
FILE = made.entry("t/a", b"1")


def _pax(data: bytes) -> bytes:
    return made.tarred(made.entry("p", data, b"x"), FILE)


OPENING: dict[str, tuple[bytes, Facts, str]] = {
    "nothing as a wheel": (b"", WHEEL, "is no zip"),
    "nothing as an sdist": (b"", SDIST, "not packed in the way"),
    "noise as a wheel": (b"\x07" * 5000, WHEEL, "is no zip"),
    "noise in gzip": (gzip.compress(b"\x07" * 5000), SDIST, "is no tarball"),
    "an empty gzip": (gzip.compress(b""), SDIST, "is no tarball"),
    "a wheel as an sdist": (GOOD_ZIP, SDIST, "not packed in the way"),
    "an sdist as a wheel": (GOOD_TAR, WHEEL, "is no zip"),
    "bz2 as gzip": (made.sdist({"t/a": b""}, "w:bz2"), NPM, "not packed in the way"),
    "a zip without its end": (GOOD_ZIP[:-30], WHEEL, "is no zip"),
    "a zip without its start": (GOOD_ZIP[60:], WHEEL, "not where its end says"),
    "a gzip cut off": (GOOD_TAR[:-20], SDIST, "ends in the middle|cannot be unpacked"),
    "a damaged gzip": (GOOD_TAR[:-8] + bytes(8), SDIST, "cannot be unpacked"),
    "a member of a tarball cut off": (gzip.compress(made.entry("t/a", b"1" * 900)[:800]), SDIST, "in the middle"),
    "a header cut off": (gzip.compress(FILE + FILE[:100]), SDIST, "ends in the middle"),
    "a header for nothing": (made.tarred(made.pax(path="t/a")), SDIST, "ends in the middle"),
    "a header's sum": (made.tarred(b"x" + FILE[1:]), SDIST, "damaged, or it is no tarball"),
    "two archives in one": (GOOD_TAR + GOOD_ZIP, SDIST, "is a zip too"),
    "a directory in the wrong place": (zipped(Lie(b"a", b"", offset=7), Lie(b"b", b"")), WHEEL, "not where"),
    "a member past the directory": (zipped(Lie(b"a", b"1"), Lie(b"b", b"x" * 99, offset=0)), WHEEL, "in the middle"),
    "a second name": (zipped(Lie(b"evil.pth", b"x", extra=UNICODE)), WHEEL, "has a second name, 'nice.txt'"),
    "fields of a member cut off": (zipped(Lie(b"a", b"", extra=b"\1\0\x09\0abc")), WHEEL, "directory is damaged"),
    "a field of a member twice": (zipped(Lie(b"a", b"", extra=UNICODE * 2)), WHEEL, "described twice"),
    "a folder with bytes": (made.tarred(made.entry("t/d", FILE, b"5")), SDIST, "is no file and has bytes"),
    "a link with bytes": (made.tarred(made.entry("t/d", FILE, b"2")), SDIST, "is no file and has bytes"),
    "a file that is a folder": (made.tarred(made.entry("t/d/", b"1")), SDIST, "is a folder with bytes"),
    "a folder with bytes in a zip": (zipped(Lie(b"d/", b"1")), WHEEL, "is a folder with bytes"),
    "two sizes": (made.tarred(made.pax(size="1"), made.entry("t/a", b"12")), SDIST, "two sizes, 2 and 1"),
    "two names": (made.tarred(made.pax(path="t/b"), made.entry("n", b"t/c\0", b"L"), FILE), SDIST, "described twice"),
    "two pax names": (made.tarred(made.pax(path="t/b"), made.pax(path="t/c"), FILE), SDIST, "described twice"),
    "one name for all": (made.tarred(made.pax(b"g", path="t/b"), FILE), SDIST, "one name or one size"),
    "holes, by pax": (made.tarred(made.pax(GNU__sparse__realsize=str(2**31)), FILE), SDIST, "stored with holes"),
    "holes, by GNU": (made.tarred(made.block(b"t/a", 0, b"S")), SDIST, "stored with holes"),
    "a prefix without ustar": (
        made.tarred(made.block(b"t/a", 0, b"0", prefix=b"p").replace(b"ustar\x0000", b"ustar  \0")),
        SDIST,
        "damaged|two ways",
    ),
    "after gzip's end": (made.tarred(FILE) + b"evil", SDIST, "4 bytes after its end, which may be another archive"),
    "a sum of all eight digits": (
        made.tarred(FILE[:148] + b"%08o" % int(FILE[148:154], 8) + FILE[156:]), SDIST, "a sum that not all programs",
    ),
    "bytes without a name": (made.tarred(made.entry("", b"1")), SDIST, "has bytes, and the name ''"),
    "a pax length beyond its end": (_pax(b"99 path=t/b\n"), SDIST, "pax header in it is damaged"),
    "a pax length of nothing": (_pax(b"0 path=t/b\n"), SDIST, "pax header in it is damaged"),
    "pax without a length": (_pax(b"path=t/b\n"), SDIST, "pax header in it is damaged"),
    "pax that says two things": (_pax(made.record("path", b"a") + made.record("path", b"b")), SDIST, "two things"),
    "a pax size that is none": (made.tarred(made.pax(size="-1"), FILE), SDIST, "a size that is none"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPENING)
def test_it_is_not_opened(tmp_path: Path, case: str) -> None:
    data, facts, reason = OPENING[case]

    with pytest.raises(BrokenError, match=reason):
        opened(tmp_path, data, facts)


READING: dict[str, tuple[Lie, str]] = {
    "a wrong checksum": (Lie(b"a", b"123", crc=1), "its checksum is another"),
    "less than it says": (Lie(b"a", b"123", size=9), "says it has 9 bytes, and has 3"),
    "encrypted": (Lie(b"a", b"123", flags=1), "is encrypted"),
    "a method nobody has": (Lie(b"a", b"123", method=99), r"a method that is not read \(99\)"),
    "no deflate": (Lie(b"a", b"123", packed=b"\xff\xff\xff"), "cannot be unpacked"),
    "cut off": (Lie(b"a", b"1" * 99, packed=made._deflated(b"1" * 99)[:-3]), "ends in the middle"),
    "something behind its data": (
        Lie(b"a", b"1", packed=made._deflated(b"1") + b"evil"),
        "goes on after the end",
    ),
    "no LZMA": (
        Lie(b"a", b"123", method=14, packed=b"\x09\x04\x05\x00" + b"\xff" * 20),
        "cannot be unpacked",
    ),
    "no bz2": (Lie(b"a", b"123", method=12, packed=b"BZh9" + b"\xff" * 20), "cannot be unpacked"),
}


@pytest.mark.parametrize("case", READING)
def test_it_is_not_read(tmp_path: Path, case: str) -> None:
    lie, reason = READING[case]
    package = opened(tmp_path, zipped(lie), WHEEL)

    with pytest.raises(BrokenError, match=reason):
        as_read(package)
    assert package.broken


def test_what_was_read_well_is_not_broken(tmp_path: Path) -> None:
    package = opened(tmp_path, GOOD_ZIP, WHEEL)

    assert as_read(package)["a.py"] == b"x = 1\n" * 100
    assert package.broken == ""
