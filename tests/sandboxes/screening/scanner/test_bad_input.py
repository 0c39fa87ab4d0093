"""Whatever a file is, a scan with every detector ends with a report that says what became of it."""

import gzip
import json
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import msgspec
import pytest

from sandboxes.screening.detectors import ALL
from sandboxes.screening.findings import Report
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner.looking import report
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL, Lie, entry, pax, tarred, zipped

FILE = entry("t/setup.py", b"x = 1\n")
GOOD = made.wheel({"thing/a.py": b"x = 1\n"})
DEEP = b"x = " + b"(" * 150 + b"1" + b")" * 150 + b"\n"
LONG = b"x = 1" + b" + 1" * 100_000 + b"\n"
SURROGATE = b"\xed\xa0\x80"  # a half of a pair, which is no UTF-8
DESCRIBED = struct.pack("<4s3L", b"PK\x07\x08", zlib.crc32(b"1"), 3, 1)


def large(**lies: int) -> bytes:
    """A good zip with an end of the large kind; `lies` says where it is none."""
    body = zipped(Lie(b"a.py", b"1"))[:-22]
    offset = body.index(b"PK\1\2")
    size = len(body) - offset
    told = {"members": 1, "size": size, "offset": offset, "place": offset + size, "parts": 1} | lies
    fields = (0, 0, told["members"], told["members"], told["size"], told["offset"])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, *fields)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, told["place"], told["parts"])
    return body + record + locator + made.zip_end(1, size, offset)


def field(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


FULL = 0xFFFFFFFF
HELD: dict[str, tuple[bytes, Facts, str]] = {
    "nothing": (b"", WHEEL, "is no zip"),
    "noise": (b"\xff" * 999, NPM, "not packed in the way"),
    "a zip's end that lies of its members": (large(members=7), WHEEL, "two ends that disagree"),
    "of its place": (large(offset=1), WHEEL, "end is damaged|two ends that disagree"),
    "of its size": (large(size=2**62), WHEEL, "end is damaged|two ends that disagree"),
    "a locator that leads elsewhere": (large(place=3), WHEEL, "its end is damaged"),
    "one of several parts": (large(parts=2), WHEEL, "its end is damaged"),
    "a large size that is not told": (zipped(Lie(b"a", b"1", size=FULL)), WHEEL, "directory is damaged"),
    "a size beyond all disks": (zipped(Lie(b"a", b"1", size=FULL, extra=field(2**63))), WHEEL, "at most 4 GiB"),
    "a place beyond the file": (zipped(Lie(b"a", b"1", offset=FULL, extra=field(2**62))), WHEEL, "not where"),
    "a place that is none": (zipped(Lie(b"a", b"1", offset=FULL, extra=field(2**64 - 1))), WHEEL, "not where"),
    "members that overlap": (
        zipped(Lie(b"a", b"1" * 99, method=0), Lie(b"b", b"1", offset=0, packed=b"x")), WHEEL, "shares its bytes",
    ),
    "encrypted": (zipped(Lie(b"a.py", b"1", flags=1)), WHEEL, "is encrypted"),
    "a flat bomb": (made.wheel({"a": bytes(40 << 20)}), WHEEL, "a bomb"),
    "64 kB of name": (zipped(Lie(b"n" * 65_000, b"")), WHEEL, "longer than 1024 characters"),
    "64 kB of folders": (zipped(Lie(b"d/" * 400, b"")), WHEEL, "more than 64 folders"),
    "64 kB of name by pax": (tarred(pax(path="t/" + "n" * 65_000), FILE), SDIST, "longer than 1024 characters"),
    "a header without end": (gzip.compress(entry("p", b"9" * 5000, b"x")[:700]), SDIST, "in the middle"),
    "pax that says its own length is 10^19": (tarred(entry("p", b"9" * 19 + b" a=b\n", b"x"), FILE), SDIST, "damaged"),
    "a member of 8 GiB that is not there": (tarred(made.block(b"t/a", (8 << 30) - 1, b"0")), SDIST, "in the middle"),
    "two members of one name": (zipped(Lie(b"a", b"1"), Lie(b"a", b"2")), WHEEL, "more than once, with other bytes"),
    "a link over a file": (tarred(FILE, entry("t/setup.py", kind=b"2", link="/x")), SDIST, "something else too"),
    "another tarball behind zeros": (tarred(FILE) + bytes(9) + tarred(FILE), SDIST, "which may be another archive"),
    "negative numbers": (tarred(FILE[:124] + b"\xff" * 12 + FILE[136:]), SDIST, "two ways|damaged"),
}  # fmt: skip

READ: dict[str, tuple[bytes, Facts, str]] = {
    "the same member twice": (zipped(Lie(b"a", b"1"), Lie(b"a", b"1")), WHEEL, "'a' is there more than once"),
    "headers that disagree": (zipped(Lie(b"a", b"", local_name=b"b")), WHEEL, "another name ('b')"),
    "a large zip in order": (large(), WHEEL, ""),
    "a description that lies": (zipped(Lie(b"a", b"1", flags=8), gap=DESCRIBED[:-1] + b"x"), WHEEL, "to no member"),
    "a description in order": (zipped(Lie(b"a", b"1", flags=8), gap=DESCRIBED), WHEEL, ""),
    "NUL": (zipped(Lie(b"a.py\0.txt", b"1")), WHEEL, "has a NUL"),
    "up and absolute": (made.wheel({"/../../etc/x.pth": b""}), WHEEL, "is absolute"),
    "half a pair": (zipped(Lie(SURROGATE + b".py", b"", flags=0x800)), WHEEL, "is not UTF-8"),
    "half a pair in a tarball": (tarred(entry(b"t/" + SURROGATE)), SDIST, "is not UTF-8"),
    "turned text": (made.wheel({"a\u202eyp.exe": b"1"}), WHEEL, "characters that are not shown"),
    "a device, a pipe": (tarred(FILE, entry("t/d", kind=b"3"), entry("t/p", kind=b"6")), SDIST, "is a device"),
    "links that go round": (
        tarred(FILE, entry("t/a", kind=b"2", link="b"), entry("t/b", kind=b"2", link="a")), SDIST, "is a link to",
    ),
    "a hard link outside": (tarred(FILE, entry("t/h", kind=b"1", link="../../etc/shadow")), SDIST, "a hard link to"),
    "a folder linked to itself": (tarred(FILE, entry("t/d", kind=b"2", link=".")), SDIST, "is a link to '.'"),
    "code that is no text": (made.wheel({"a.py": bytes(range(256)) * 20}), WHEEL, ""),
    "code that says it is in a code of its own": (made.wheel({"a.py": b"# coding: rot13\nvzcbeg bf\n"}), WHEEL, ""),
    "deep code": (made.wheel({"a.py": DEEP}), WHEEL, ""),
    "code that is one long sum": (made.wheel({"a.py": LONG}), WHEEL, ""),
    "deep JSON": (made.sdist({"package/package.json": b"[" * 100_000}), NPM, "package.json cannot be read"),
    "JSON of half pairs": (made.sdist({"package/package.json": b'{"name": "\\ud800"}'}), NPM, ""),
    "a huge number": (made.sdist({"package/package.json": b'{"version": 1' + b"0" * 9000 + b"}"}), NPM, ""),
    "records of blanks": (made.wheel({"t-1.dist-info/RECORD": b'"' + b"\n" * 5000}), WHEEL, ""),
    "metadata of one line": (made.wheel({"t-1.dist-info/METADATA": b":" * 100_000}), WHEEL, ""),
}  # fmt: skip


def scanned(file: Path, facts: Facts) -> Report:
    handle = os.open(file, os.O_RDONLY)
    try:
        return report(handle, facts, None, ALL)
    finally:
        os.close(handle)


def verdict(folder: Path, data: bytes, facts: Facts) -> Report:
    file = folder / "file"
    file.write_bytes(data)
    done = scanned(file, facts)
    as_json = msgspec.json.encode(done)
    assert b"\\u0000" not in as_json  # PostgreSQL keeps none
    json.loads(as_json.decode("utf-8"))
    return done


@pytest.mark.parametrize("case", HELD)
def test_it_is_held_and_says_why(tmp_path: Path, case: str) -> None:
    data, facts, reason = HELD[case]
    done = verdict(tmp_path, data, facts)

    assert any(part in done.broken for part in reason.split("|")), done.broken
    assert "could not be read: " not in done.broken  # our own fault
    assert "failed" not in done.broken


@pytest.mark.parametrize("case", READ)
def test_it_is_read_and_says_what_is_odd(tmp_path: Path, case: str) -> None:
    data, facts, sentence = READ[case]
    done = verdict(tmp_path, data, facts)

    assert done.broken == ""
    assert any(sentence in found.why for found in done.findings) or not sentence, done.findings


def _sparse(file: Path, head: bytes, size: int, tail: bytes = b"") -> None:
    """A file of that size that takes hardly any of the disk."""
    with file.open("wb") as out:
        out.write(head)
        out.seek(size)
        out.write(tail)
        out.truncate()


def _stored(name: bytes, begin: bytes, size: int) -> tuple[bytes, bytes]:
    """What stands before and behind one member of that many bytes, all of them zeros but its beginning."""
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, size, size, len(name), 0) + name
    directory = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, size, size, len(name), *[0] * 6)
    directory += name
    return head + begin, directory + made.zip_end(1, len(directory), len(head) + size)


TWO_GIB = 2 << 30


def test_two_gibibytes_of_nothing(tmp_path: Path) -> None:
    _sparse(tmp_path / "file", b"", TWO_GIB)

    assert scanned(tmp_path / "file", WHEEL).broken == "it is no zip, or its end is missing"
    assert scanned(tmp_path / "file", SDIST).broken == "it is not packed in the way that its name says"


def test_two_gibibytes_before_a_wheel(tmp_path: Path) -> None:
    _sparse(tmp_path / "file", b"#!", TWO_GIB, GOOD)
    done = scanned(tmp_path / "file", WHEEL)

    assert done.broken == ""
    assert any("2 GiB before its start" in found.why for found in done.findings)


@pytest.mark.parametrize("name", ["data.bin", "code.py"])
def test_a_member_of_two_gibibytes(tmp_path: Path, name: str) -> None:
    """Its beginning is looked at, and no more of it is in memory."""
    head, tail = _stored(name.encode(), b"", TWO_GIB)
    _sparse(tmp_path / "file", head, len(head) + TWO_GIB, tail)
    tracemalloc.start()
    try:
        done = scanned(tmp_path / "file", WHEEL)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert done.broken == ""
    assert most < 400 << 20
    assert any("only its first 16 MiB" in found.why for found in done.findings) is (name == "code.py")


def test_an_archive_inside_of_two_gibibytes_is_too_much(tmp_path: Path) -> None:
    head, tail = _stored(b"x.zip", b"PK\3\4", TWO_GIB)
    _sparse(tmp_path / "file", head, len(head) - 4 + TWO_GIB, tail)

    assert "one within the other, have more than 256 MiB" in scanned(tmp_path / "file", WHEEL).broken
