"""Archives from which an installer would unpack something else than what is looked at.

What pip or npm make of them was tried for nearly all; the others hide something, or stop them.
"""

import gzip
import io
import lzma
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sandboxes.screening.archives import BrokenError, Inner, LimitError, Limits, copies
from sandboxes.screening.package import Facts
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import (
    NPM,
    SDIST,
    WHEEL,
    Lie,
    as_read,
    entry,
    opened,
    pax,
    tarred,
    zipped,
)

XZ = Facts(filename="thing-1.0.tar.xz", project="thing", version="1.0")
GOOD, EVIL = b"good = 1\n", b"evil = 1\n"
SETUP = entry("t/setup.py", GOOD)
HIDDEN = entry("t/setup.py", EVIL)
END = bytes(1024)
CODE = entry("package/setup.js", GOOD)
HIDDEN_CODE = entry("package/setup.js", EVIL)


def link(path: str, target: str, kind: bytes = b"2") -> bytes:
    return entry(path, kind=kind, link=target)


def folder_of_old(name: bytes) -> bytes:
    """Other members, as the bytes of one."""
    return made.block(name, len(HIDDEN), b"\0") + HIDDEN


def summed(block: bytes, told: bytes | None = None) -> bytes:
    """With its checksum, or with another way to write one."""
    total = sum(block[:148]) + sum(block[156:512]) + 8 * 32
    return block[:148] + (told or b"%06o\0 " % total) + block[156:]


def unversioned(data: bytes) -> bytes:
    """With a prefix that only some take for one."""
    block = made.block(b"package/setup.js", len(data), b"0", prefix=b"package/tests")
    return summed(block[:263] + b"  " + block[265:]) + made.padded(data)


def sum_of_eight_digits(container: bytes) -> bytes:
    block = made.block(b"package/data.bin", len(container), b"0")
    total = sum(block[:148]) + sum(block[156:512]) + 8 * 32
    return summed(block, b"%08o" % total) + container


def signed_sum(container: bytes) -> bytes:
    block = made.block("package/ä.bin".encode(), len(container), b"0")
    bare = block[:148] + b" " * 8 + block[156:]
    return summed(block, b"%06o\0 " % (sum(bare) - 256 * sum(each > 127 for each in bare))) + container


def with_zip(change: Callable[[bytearray, int], None]) -> bytes:
    """A tarball with a zip in its gzip header, whose end was changed so that strict readers do not take it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("t/setup.py", EVIL)
    data = bytearray(out.getvalue())
    change(data, data.rfind(b"PK\5\6"))
    packed = tarred(SETUP)
    return packed[:3] + b"\4" + packed[4:10] + struct.pack("<H", len(data)) + bytes(data) + packed[10:]


def another_disk(data: bytearray, end: int) -> None:
    data[end + 4] = 1


def no_members(data: bytearray, end: int) -> None:
    data[end + 8 : end + 12] = bytes(4)


def comment_cut_off(data: bytearray, end: int) -> None:
    data[end + 20 : end + 22] = b"\xff\xff"


def two_counts(data: bytearray, end: int) -> None:
    data[end + 8] = 7


def large_directory(data: bytearray, end: int) -> None:
    """Said elsewhere: in a record of 64 bits."""
    data[end:end] = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
    data[end + 32 : end + 36] = b"\xff" * 4


TWICE = "is there more than once, with other bytes"
ZIP_TOO = "it is a zip too"
AFTER = "after its end, which may be another archive"
LEFT_OUT = "one that npm leaves out"
OTHERWISE = "one that npm reads otherwise"
TURNED = "one that npm turns into another"
TWO_WAYS = "can be read in two ways"
LINK = "is a link and something else too"
BELOW = "lies below a link"

HELD: dict[str, tuple[bytes, Facts, str]] = {
    "an old folder that pax calls a file": (
        tarred(SETUP, pax(path="t/data.bin"), folder_of_old(b"t/z/")), SDIST, "a folder with bytes of its own",
    ),
    "an old folder with a long name": (
        tarred(SETUP, entry("n", b"t/data.bin\0", b"L"), folder_of_old(b"t/z/")), SDIST, "a folder with bytes",
    ),
    "an old folder without bytes that pax calls a file": (
        tarred(SETUP, pax(path="t/a.py"), made.block(b"t/z/", 0, b"\0")), SDIST, "or with a file's name",
    ),
    "a link over a file": (tarred(SETUP, entry("t/d", EVIL), link("t/setup.py", "d")), SDIST, LINK),
    "a file over a link": (tarred(entry("t/s.py", GOOD), link("t/d", "s.py"), entry("t/d", EVIL)), SDIST, LINK),
    "a file through a hard link": (
        tarred(SETUP, link("t/d", "t/setup.py", b"1"), entry("t/d", EVIL)), SDIST, LINK,
    ),
    "a link to two files": (
        tarred(SETUP, entry("t/b", EVIL), link("t/l.py", "setup.py"), link("t/l.py", "b")), SDIST, LINK,
    ),
    "a file below a linked folder": (tarred(SETUP, link("t/d", "."), entry("t/d/setup.py", EVIL)), SDIST, BELOW),
    "the same, the file first": (tarred(SETUP, entry("t/d/x/setup.py", EVIL), link("t/d", "..")), SDIST, BELOW),
    "a link below a linked folder": (
        tarred(entry("t/x/e", EVIL), link("t/d", "."), link("t/d/setup.py", "x/e")), SDIST, BELOW,
    ),
    "up from a linked folder": (
        tarred(entry("t/a/b/x", GOOD), entry("t/a/e", EVIL), entry("t/e", GOOD), link("t/d", "a/b"),
               link("t/setup.py", "d/../e")),
        SDIST, "leads to different places",
    ),
    "gzip behind zeros": (gzip.compress(SETUP) + bytes(8) + gzip.compress(HIDDEN + END), SDIST, AFTER),
    "another kind of xz behind xz": (
        lzma.compress(SETUP) + lzma.compress(HIDDEN + END, format=lzma.FORMAT_ALONE), XZ, AFTER,
    ),
    "a zip of another disk": (with_zip(another_disk), SDIST, ZIP_TOO),
    "a zip of no members": (with_zip(no_members), SDIST, ZIP_TOO),
    "a zip with half a comment": (with_zip(comment_cut_off), SDIST, ZIP_TOO),
    "a zip that counts twice": (with_zip(two_counts), SDIST, ZIP_TOO),
    "a zip of 64 bits": (with_zip(large_directory), SDIST, ZIP_TOO),
    "two files in a wheel": (zipped(Lie(b"a.py", GOOD), Lie(b"a.py", EVIL)), WHEEL, TWICE),
    "two files in an sdist": (tarred(SETUP, HIDDEN), SDIST, TWICE),
    "two of one length": (tarred(entry("t/a", b"1"), entry("t/a", b"2")), SDIST, TWICE),
    "two files in a tarball of npm": (tarred(CODE, HIDDEN_CODE), NPM, TWICE),
    "two by way of another folder": (tarred(CODE, entry("other/setup.js", EVIL)), NPM, TWICE),
    "two, one of them in no folder": (tarred(SETUP, entry("setup.py", EVIL)), SDIST, TWICE),
    "a prefix without its version": (tarred(CODE, unversioned(EVIL)), NPM, TWO_WAYS),
    "a member without a name": (tarred(CODE, entry("", HIDDEN_CODE)), NPM, LEFT_OUT),
    "a description without a name": (
        tarred(CODE, entry("", made.record("path", b"package/a.bin"), b"x"), HIDDEN_CODE), NPM, LEFT_OUT,
    ),
    "a file with a target": (tarred(entry("package/data.bin", HIDDEN_CODE, link="x")), NPM, LEFT_OUT),
    "a long name with a target": (
        tarred(entry("n", b"package/a.bin\0", b"L", link="x"), HIDDEN_CODE), NPM, LEFT_OUT,
    ),
    "a link without a target": (
        tarred(pax(path="package/setup.js", linkpath="x"), link("package/l", ""), entry("package/d", EVIL)),
        NPM, LEFT_OUT,
    ),
    "a name of the oldest kind": (tarred(entry("n", b"package/x.js\0", b"N"), CODE), NPM, "that only npm reads"),
    "a record within a record": (
        tarred(pax(comment="x\n25 path=package/setup.js"), entry("package/data", EVIL)), NPM, OTHERWISE,
    ),
    "a length with zeros": (
        tarred(entry("p", b"020 path=package/xy\n", b"x"), HIDDEN_CODE), NPM, OTHERWISE,
    ),
    "a record that says what it is": (tarred(pax(type="Directory"), CODE), NPM, OTHERWISE),
    "a sum that nothing ends": (tarred(CODE, sum_of_eight_digits(HIDDEN_CODE)), NPM, "not all programs take"),
    "a sum of signed bytes": (tarred(CODE, signed_sum(HIDDEN_CODE)), NPM, "not all programs take"),
    "a name with a NUL": (tarred(pax(path="package/x.js\0.bin"), CODE), NPM, TWO_WAYS),
    "a line behind a name's end": (tarred(entry(b"package/x\0\n".ljust(97, b"x") + b".js", EVIL)), NPM, TWO_WAYS),
    "a line behind a long name's end": (
        tarred(entry("n", b"package/x\0\n.js", b"L"), entry("package/y", EVIL)), NPM, TWO_WAYS,
    ),
    "a long name of nothing": (tarred(entry("n", b"", b"L"), HIDDEN_CODE), NPM, "a name in it is empty"),
    "here": (tarred(CODE, entry("./package/setup.js", EVIL)), NPM, TURNED),
    "from the root": (tarred(CODE, entry("/package/setup.js", EVIL)), NPM, TURNED),
    "two strokes": (tarred(CODE, entry("package//setup.js", EVIL)), NPM, TURNED),
    "here, further in": (tarred(CODE, entry("package/./setup.js", EVIL)), NPM, TURNED),
    "up": (tarred(CODE, entry("package/x/../setup.js", EVIL)), NPM, TURNED),
    "a drive": (tarred(CODE, entry("package/c:setup.js", EVIL)), NPM, TURNED),
    "a backslash": (tarred(CODE, entry("package/\\setup.js", EVIL)), NPM, TURNED),
}  # fmt: skip


@pytest.mark.parametrize("case", HELD)
def test_it_is_held(tmp_path: Path, case: str) -> None:
    data, facts, reason = HELD[case]

    with pytest.raises(BrokenError, match=reason):
        opened(tmp_path, data, facts)


READ: dict[str, tuple[bytes, Facts, dict[str, bytes]]] = {
    "zeros behind gzip": (tarred(SETUP) + bytes(9000), SDIST, {"setup.py": GOOD}),
    "the same file twice in a wheel": (
        zipped(Lie(b"a.py", GOOD), Lie(b"b.py", b""), Lie(b"a.py", GOOD)), WHEEL, {"a.py": GOOD, "b.py": b""},
    ),
    "the same file twice in an sdist": (tarred(SETUP, SETUP), SDIST, {"setup.py": GOOD}),
    "a hard link to itself": (tarred(SETUP, link("t/l", "t/l", b"1")), SDIST, {"setup.py": GOOD}),
    "links to hard links to come": (
        tarred(link("t/setup.py", "h"), link("t/i", "t/h", b"1"), link("t/h", "t/x", b"1"), entry("t/x", EVIL)),
        SDIST,
        {"x": EVIL, "setup.py": EVIL, "h": EVIL, "i": EVIL},
    ),
    "one link twice": (
        tarred(SETUP, link("t/l", "setup.py"), link("t/l", "setup.py")), SDIST, {"setup.py": GOOD, "l": GOOD},
    ),
    "a linked folder": (
        tarred(entry("t/tests/h/__init__.py", EVIL), link("t/helper", "tests/h")), SDIST,
        {"tests/h/__init__.py": EVIL, "helper/__init__.py": EVIL},
    ),
    "a linked folder with links": (
        tarred(entry("t/a/x", b"x"), entry("t/b/y", b"y"), link("t/a/b", "../b"), link("t/a/z", "b/y"),
               link("t/c", "./a")),
        SDIST,
        {"a/x": b"x", "b/y": b"y", "a/b/y": b"y", "a/z": b"y", "c/x": b"x", "c/b/y": b"y", "c/z": b"y"},
    ),
    "a file by way of a linked folder": (
        tarred(entry("t/a/b.py", EVIL), link("t/d", "a"), link("t/setup.py", "d/b.py")), SDIST,
        {"a/b.py": EVIL, "d/b.py": EVIL, "setup.py": EVIL},
    ),
    "a folder linked to itself": (
        tarred(SETUP, link("t/d", ".")), SDIST, {"setup.py": GOOD, "d/setup.py": GOOD},
    ),
    "links that lead out": (
        tarred(SETUP, link("t/a", "../../x"), link("t/b", "/etc"), link("t/c", "no")), SDIST, {"setup.py": GOOD},
    ),
    "GNU's own header": (
        tarred(summed(CODE[:257] + b"ustar  \0" + CODE[265:512]) + CODE[512:]), NPM, {"setup.js": GOOD},
    ),
    "a prefix": (
        tarred(made.block(b"x/a.js", 4, b"0", prefix=b"package/lib") + made.padded(b"1234")), NPM,
        {"lib/x/a.js": b"1234"},
    ),
    "folders and pax with npm": (
        tarred(entry("package/", kind=b"5"), pax(b"g", comment="1234"), pax(path="package/ü.js", mtime="1.5"), CODE),
        NPM, {"ü.js": GOOD},
    ),
    "a record of two lines with npm": (
        tarred(pax(path="package/a.js", comment="one\ntwo"), CODE), NPM, {"a.js": GOOD},
    ),
    "names with colons and backslashes further on": (
        tarred(entry("package/ab:c.js", b"1"), entry("package/x/c:d\\e.js", b"2")), NPM,
        {"ab:c.js": b"1", "x/c:d\\e.js": b"2"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_what_is_harmless_is_read(tmp_path: Path, case: str) -> None:
    data, facts, files = READ[case]
    package = opened(tmp_path, data, facts)

    assert as_read(package) == files
    assert len(package.members) == len(files)


def crosswise(folders: int) -> list[bytes]:
    """Folders that hold nothing but links to all the others."""
    numbers = range(folders)
    return [link(f"t/{one}/{other}", f"../{other}") for one in numbers for other in numbers if one != other]


TOO_MUCH: dict[str, tuple[list[bytes], Limits, str]] = {
    "files": ([link(f"t/l{number}", "d") for number in range(5)], Limits(members=20), "more than 20 files"),
    "bytes": ([link(f"t/l{number}", "d") for number in range(5)], Limits(total=60_000), "or 58.6 KiB"),
    "ways": (crosswise(12), Limits(members=500), "more than 500 ways"),
    "a long way": (
        [entry("k", b"x/" * 600, b"K"), link("t/l", "y")],
        Limits(),
        "longer than 1024 characters",
    ),
    "a long path": ([link("t/" + "l" * 90, "d")], Limits(path=93), "longer than 93 characters"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_links_have_limits(tmp_path: Path, case: str) -> None:
    links, limits, reason = TOO_MUCH[case]
    files = [entry(f"t/d/{number}", bytes(3000)) for number in range(5)]

    with pytest.raises(LimitError, match=reason):
        opened(tmp_path, tarred(*files, *links), SDIST, limits)


def test_links_that_lead_round_and_round_end(tmp_path: Path) -> None:
    """Each way round is gone once."""
    links = crosswise(3)
    package = opened(tmp_path, tarred(entry("t/0/x", EVIL), *links), SDIST)

    assert {path for path in as_read(package) if path.count("/") == 2} == {"1/0/x", "2/0/x"}
    assert all(data == EVIL for data in as_read(package).values())


def test_what_is_there_twice_is_compared_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_COMPARED", 2 * len(GOOD) - 1)

    with pytest.raises(BrokenError, match="too much of it is there more than once"):
        opened(tmp_path, tarred(SETUP, SETUP), SDIST)


INSIDE: dict[str, tuple[bytes, str]] = {
    "something behind it": (tarred(HIDDEN) + b"x", "There are 1 bytes after its end"),
    "a link over a file": (tarred(HIDDEN, link("t/setup.py", "x")), "is a link and something else too."),
    "a file below a link": (tarred(HIDDEN, link("t", "x")), "lies below a link, 't'."),
    "two files": (tarred(SETUP, HIDDEN), ""),
    "a sum that nothing ends": (tarred(HIDDEN[:148] + b"%08o" % int(HIDDEN[148:154], 8) + HIDDEN[156:]), ""),
    "a prefix without its version": (tarred(unversioned(EVIL)), ""),
}


@pytest.mark.parametrize("case", INSIDE)
def test_of_an_archive_inside_all_is_looked_at(tmp_path: Path, case: str) -> None:
    """Else one byte behind it would hide it: that it is broken does not hold the file."""
    data, sentence = INSIDE[case]
    (inner,) = opened(tmp_path, made.wheel({"a/x.tgz": data}), WHEEL).inside()

    assert isinstance(inner, Inner)
    assert EVIL in [member.read() for member in inner.members]
    assert any(sentence in each for each in inner.oddities) or not sentence, inner.oddities
