"""Archives inside archives: found by what they are, read one within the other, and never more than the limits."""

import bz2
import gzip
import lzma
import random
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sandboxes.screening.archives import (
    DEFAULT,
    ArchivePackage,
    BrokenError,
    Inner,
    LimitError,
    Limits,
    LockedError,
    Trouble,
)  # fmt: skip
from sandboxes.screening.archives.limits import MIB
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL, Lie, opened, zipped

CODE = {"a.py": b"x = 1\n" * 50}
ZIP = made.wheel(CODE)
TAR = made.entry("t/a.py", CODE["a.py"]) + bytes(1024)
ELF = b"\x7fELF" + bytes(200)
SCRIPT = b"#!/bin/sh\n" + b"echo\n" * 20
NOISE = random.Random(5).randbytes(3000)


def inners(package: ArchivePackage, limits: Limits = DEFAULT) -> list[Inner]:
    found = list(package.inside(limits))
    assert not [each for each in found if isinstance(each, Trouble)]
    return [each for each in found if isinstance(each, Inner)]


def troubles(package: ArchivePackage, limits: Limits = DEFAULT) -> list[Trouble]:
    """What is told once everything that can be was read."""
    found = []
    for each in package.inside(limits):
        if isinstance(each, Trouble):
            found.append(each)
        else:
            for member in each.members:
                member.read()
    return found


def contents(package: ArchivePackage) -> dict[str, bytes]:
    return {inner.path_of(each.path): each.read() for inner in inners(package) for each in inner.members}


FORMS: dict[str, tuple[bytes, str]] = {
    "a zip": (ZIP, "a.py"),
    "a zip behind a program": (ELF + ZIP, "a.py"),
    "a zip behind a script": (b"#!/usr/bin/env python3\n" + ZIP, "a.py"),
    "a tarball": (TAR, "t/a.py"),
    "a tarball in gzip": (gzip.compress(TAR), "t/a.py"),
    "a tarball in bz2": (bz2.compress(TAR), "t/a.py"),
    "a tarball in xz": (lzma.compress(TAR), "t/a.py"),
}


@pytest.mark.parametrize("case", FORMS)
@pytest.mark.parametrize("name", ["thing/x.zip", "thing/x.png", "thing/x"])
def test_it_is_known_by_its_bytes_whatever_its_name(tmp_path: Path, case: str, name: str) -> None:
    data, path = FORMS[case]
    package = opened(tmp_path, made.wheel({name: data, "thing/b.py": b""}), WHEEL)

    assert contents(package) == {f"{name}!/{path}": CODE["a.py"]}
    assert [member.path for member in package.members] == [
        name,
        "thing/b.py",
    ]  # none is added to the file's own


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json.gz", gzip.compress(b"{}" * 50)),
        ("a.csv.bz2", bz2.compress(b"1,2\n" * 50)),
        ("a.dat", b"\x1f\x8b\x08" + NOISE),
        ("a.bin", b"BZh9" + NOISE),
        ("a.txt", b"about PK\x05\x06 and PK\x03\x04" + bytes(30)),
        ("a.block", NOISE[:1024]),
        ("empty.zip", made.wheel({})),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",  # gzip writes the time down
)
def test_data_is_no_archive(tmp_path: Path, name: str, data: bytes) -> None:
    assert list(opened(tmp_path, made.wheel({name: data}), WHEEL).inside()) == []


@pytest.mark.parametrize(
    ("name", "data", "inside"),
    [
        ("run.py.gz", CODE["a.py"], "run.py"),
        ("data.gz", ELF, "data"),
        ("data", SCRIPT, "data"),
        ("lib.so.gz", NOISE, "lib.so"),
    ],
)
def test_a_compressed_program_is_a_member(tmp_path: Path, name: str, data: bytes, inside: str) -> None:
    for packed in (gzip.compress(data), bz2.compress(data), lzma.compress(data)):
        package = opened(tmp_path, made.wheel({name: packed}), WHEEL)

        assert contents(package) == {f"{name}!/{inside}": data}


def test_through_all_kinds_of_archives(tmp_path: Path) -> None:
    inner = made.wheel(
        {"in.tgz": gzip.compress(made.entry("d/deep.zip.xz", lzma.compress(ZIP)) + bytes(1024))}
    )
    package = opened(tmp_path, made.sdist({"t-1/vendor/o.whl": inner}), SDIST)
    path = "vendor/o.whl!/in.tgz!/d/deep.zip.xz!/deep.zip!/a.py"

    assert contents(package)[path] == CODE["a.py"]
    member = package.within(path)
    assert member is not None
    assert member.read() == CODE["a.py"]


def test_a_member_by_its_path(tmp_path: Path) -> None:
    package = opened(
        tmp_path, made.wheel({"o.zip": made.wheel({"i.zip": ZIP}), "b.py": b"1", "c!/d": b"2"}), WHEEL
    )
    paths = ("b.py", "o.zip!/i.zip", "o.zip!/i.zip!/a.py", "c!/d")

    assert [package.within(path) is not None for path in paths] == [True] * 4
    for none in (
        "",
        "x",
        "x!/a.py",
        "b.py!/a",
        "o.zip!/x",
        "o.zip!/x!/a.py",
        "o.zip!/i.zip!/a.py!/x",
        "o.zip!/",
    ):
        assert package.within(none) is None


@pytest.mark.parametrize(
    ("name", "data", "kind", "paths"),
    [
        ("p-1-py3-none-any.whl", ZIP, Kind.WHEEL, ["a.py"]),
        ("p.tgz", made.sdist({"p-1/setup.py": b"", "p-1/p/a.py": b""}), Kind.SDIST, ["setup.py", "p/a.py"]),
        (
            "p.tgz",
            made.sdist({"package/package.json": b"{}", "package/x.js": b""}),
            Kind.NPM,
            ["package.json", "x.js"],
        ),
        (
            "p.tgz",
            made.sdist({"one/a.py": b"", "two/setup.py": b""}),
            Kind.WHEEL,
            ["one/a.py", "two/setup.py"],
        ),
        ("p.jar", made.wheel({"A.class": b"\xca\xfe\xba\xbe", "a.py": b""}), Kind.WHEEL, ["a.py"]),
    ],
)
def test_it_is_a_package_of_its_own(
    tmp_path: Path, name: str, data: bytes, kind: Kind, paths: list[str]
) -> None:
    """So that what belongs together in it is seen together; its folder is in the path that is told."""
    package = opened(tmp_path, made.wheel({f"v/{name}": data}), WHEEL)
    (inner,) = inners(package)

    assert (inner.kind, [each.path for each in inner.members]) == (kind, paths)
    member = inner.member(paths[0])
    assert member is inner.members[0]
    assert package.within(inner.path_of(paths[0])) is not None
    assert inner.facts.filename == (name if name.endswith(".whl") else WHEEL.filename)


def test_an_archive_that_links_lead_to_is_opened_once(tmp_path: Path) -> None:
    entries = [made.entry("t/a.zip", ZIP), made.entry("t/b.zip", kind=b"2", link="a.zip")]

    assert [each.path for each in inners(opened(tmp_path, made.tarred(*entries), SDIST))] == ["a.zip"]


FEW = replace(DEFAULT, floor=10_000, inside_total=100_000, inside_held=5_000, inside_members=5, nesting=2)
MANY = made.wheel({str(number): b"" for number in range(4)})
ZEROS = made.wheel({"z": bytes(9_000)})

TOO_MUCH: dict[str, tuple[Mapping[str, bytes], str]] = {
    "too deep": ({"a": made.wheel({"b": made.wheel({"c": ZIP})})}, "more than 2 deep"),
    "members of all of them": ({"a.zip": MANY, "b.zip": MANY}, "have more than 5 members"),
    "a bomb inside": ({"a.zip": made.wheel({"z": bytes(90_000)})}, "'z' unpacks to more than .* a bomb"),
    "a tarball that is a bomb": ({"a.tgz": gzip.compress(made.entry("t/z", bytes(90_000)))}, "its size: a bomb"),
    "a program that is a bomb": ({"a.py.gz": gzip.compress(bytes(90_000))}, "it unpacks to more than 4.88 KiB"),
    "all of them": ({"a.zip": made.wheel({str(n): NOISE * 5 for n in range(8)}, 0)}, "one within the other"),
    "in memory": ({"a.zip": made.wheel({"b.zip": made.wheel({"n": NOISE[:2400]})}, 0)}, "have more than 4.88 KiB"),
    "a member that lies": ({"a.zip": zipped(Lie(b"l", b"1" * 100, size=10))}, "says it has 10 bytes, and has more"),
    "shared bytes": ({"a.zip": zipped(Lie(b"a", b"1"), Lie(b"b", b"1", packed=b"x", offset=0))}, "shares its bytes"),
    "a long name": ({"a.zip": made.wheel({"n" * 2000: b""})}, "longer than 1024 characters"),
    "deep folders": ({"a.zip": made.wheel({"d/" * 80 + "x": b""})}, "more than 64 folders"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_breaks_a_limit_is_told_and_ends_it(tmp_path: Path, case: str) -> None:
    files, reason = TOO_MUCH[case]
    package = opened(tmp_path, made.wheel({**files, "zz.zip": ZIP}, 0), WHEEL)
    found = troubles(package, FEW)

    assert isinstance(found[-1].error, LimitError)
    assert len(found) == 1
    (trouble,) = found
    with pytest.raises(LimitError, match=reason):
        raise trouble.error  # type: ignore[misc]
    assert trouble.reason.startswith(f"in '{trouble.path}'")


def test_bytes_are_counted_over_all_of_them(tmp_path: Path) -> None:
    files = {f"{number}.zip": made.wheel({"n": NOISE * 10}, 0) for number in range(2)}
    package = opened(tmp_path, made.wheel(files, 0), WHEEL)
    (trouble,) = troubles(package, replace(DEFAULT, inside_total=50_000))

    assert (trouble.path, trouble.reason) == (
        "1.zip",
        "in '1.zip': it unpacks to 29.3 KiB; at most 19.5 KiB are read",
    )


def test_copies_of_one_bomb_are_one_bomb(tmp_path: Path) -> None:
    """Each is below the ratio's floor; together they are not."""
    files = {f"{number}.zip": ZEROS for number in range(30)}
    package = opened(tmp_path, made.sdist({f"t/{path}": data for path, data in files.items()}), SDIST)
    (trouble,) = troubles(package, replace(DEFAULT, floor=10_000))

    assert "the archives in it unpack to more than 100 times its size" in trouble.reason


def test_one_that_contains_itself_ends(tmp_path: Path) -> None:
    """As the famous ones do, which never end; here as deep as anybody can wish."""
    data = ZIP
    for _ in range(30):
        data = made.wheel({"again.zip": data})
    (trouble,) = troubles(opened(tmp_path, data, WHEEL))

    assert "more than 5 deep" in trouble.reason
    assert trouble.path.count("again.zip") == 6


def test_time_is_counted_over_all_of_them(tmp_path: Path) -> None:
    package = opened(tmp_path, made.wheel({"a.zip": ZIP}), WHEEL)
    (trouble,) = troubles(package, replace(DEFAULT, inside_seconds=-1.0))

    assert "takes longer than" in trouble.reason


def test_what_is_within_the_limits_is_read(tmp_path: Path) -> None:
    """The counterpart: the same limits, and what good packages have."""
    package = opened(
        tmp_path, made.wheel({"a.zip": made.wheel({"b.zip": ZIP}), "c.tgz": gzip.compress(TAR)}), WHEEL
    )

    assert len(inners(package, FEW)) == 3


UNREADABLE: dict[str, tuple[bytes, type[BrokenError] | None, str]] = {
    "a zip without its end": (ZIP[:-30], BrokenError, "its end is missing"),
    "a zip cut in the middle": (ZIP[:40], BrokenError, "its end is missing"),
    "a tarball cut off": (
        gzip.compress(TAR + TAR * 20)[:-90],
        BrokenError,
        "in the middle|cannot be unpacked",
    ),
    "a tarball's second header": (TAR[:1024] + b"x" * 512, BrokenError, "two ways|damaged"),
    "a password": (zipped(Lie(b"a.py", b"123", flags=1)), LockedError, "is encrypted"),
    "a password for one": (zipped(Lie(b"b", b"1"), Lie(b"a", b"123", flags=1)), LockedError, "is encrypted"),
    "a wrong checksum": (zipped(Lie(b"a", b"123", crc=1)), BrokenError, "its checksum is another"),
    "a method nobody has": (zipped(Lie(b"a", b"123", method=99)), BrokenError, "a method that is not read"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + NOISE, None, "not read (7z)"),
    "RAR": (b"Rar!\x1a\x07\x01\0" + NOISE, None, "not read (RAR)"),
    "Zstandard": (b"\x28\xb5\x2f\xfd" + NOISE, None, "not read (Zstandard)"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path, case: str) -> None:
    data, kind, reason = UNREADABLE[case]
    package = opened(tmp_path, made.wheel({"v/x.bin": data, "zz.zip": ZIP}), WHEEL)
    found = list(package.inside())
    for each in found:
        if isinstance(each, Inner):
            [member.read() for member in each.members]
    (trouble,) = troubles(package)

    assert "zz.zip" in [each.path for each in found]
    assert trouble.path == "v/x.bin"
    assert any(part in trouble.reason for part in reason.split("|"))
    assert trouble.error is None if kind is None else type(trouble.error) is kind
    assert package.broken == ""  # the file itself is in order


def test_beside_what_is_damaged_everything_else_is_given(tmp_path: Path) -> None:
    """Else one damaged member would hide what Python imports from the same zip."""
    inner = zipped(Lie(b"bad", b"123", crc=1), Lie(b"locked", b"1", flags=1), Lie(b"evil.py", b"import os"))
    package = opened(tmp_path, made.wheel({"x.zip": inner}), WHEEL)
    (first, *_) = package.inside()
    assert isinstance(first, Inner)

    assert {each.path: each.read() for each in first.members} == {
        "bad": b"123",
        "locked": b"",
        "evil.py": b"import os",
    }
    assert first.error is not None


def test_a_member_of_the_file_itself_that_is_damaged_is_no_trouble_but_an_error(tmp_path: Path) -> None:
    package = opened(tmp_path, zipped(Lie(b"x.zip", ZIP, crc=zlib.crc32(b"other"))), WHEEL)

    with pytest.raises(BrokenError, match="its checksum is another"):
        list(package.inside())
    assert package.broken


def test_a_large_member_is_looked_at_by_its_beginning(tmp_path: Path) -> None:
    """And opened all the same, if that says what it is."""
    large = {"n": random.Random(6).randbytes(17 * MIB), "a.py": b"1"}
    files = {"large.zip": made.wheel(large, 0), "large.bin": NOISE * 6000 + ZIP}
    package = opened(tmp_path, made.wheel(files, 0), WHEEL)

    assert [each.path for each in inners(package)] == ["large.zip"]


def test_of_npm_and_sdists_too(tmp_path: Path) -> None:
    for facts in (NPM, SDIST):
        assert contents(opened(tmp_path, made.sdist({"package/x.zip": ZIP}), facts)) == {
            "x.zip!/a.py": CODE["a.py"]
        }
