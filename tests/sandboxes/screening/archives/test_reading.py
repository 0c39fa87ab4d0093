"""What is read of good archives, of every format."""

import gzip
import io
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from sandboxes.screening.archives import ArchiveError, BrokenError, Limits, open_package
from sandboxes.screening.package import Facts, Kind
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL, as_read, opened

FILES = {"thing/__init__.py": b"x = 1\n" * 5000, "thing/data.bin": random.Random(1).randbytes(300_000)}
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_a_wheel(tmp_path: Path, method: int) -> None:
    package = opened(tmp_path, made.wheel(FILES, method), WHEEL)

    assert package.kind is Kind.WHEEL
    assert as_read(package) == FILES
    assert package.oddities == ()


@pytest.mark.parametrize(
    ("mode", "ending"), [("w:gz", ".tar.gz"), ("w:bz2", ".tar.bz2"), ("w:xz", ".tar.xz")]
)
def test_an_sdist_in_each_packing(tmp_path: Path, mode: str, ending: str) -> None:
    files = {f"thing-1.0/{path}": data for path, data in FILES.items()}
    package = opened(tmp_path, made.sdist(files, mode), Facts(filename=f"thing-1.0{ending}"))

    assert package.kind is Kind.SDIST
    assert as_read(package) == FILES
    assert package.oddities == ()


def test_an_sdist_in_a_zip(tmp_path: Path) -> None:
    files = {f"thing-1.0/{path}": data for path, data in FILES.items()}

    assert as_read(opened(tmp_path, made.wheel(files), Facts(filename="thing-1.0.zip"))) == FILES


def test_an_npm_tarball_loses_its_first_folder_whatever_its_name(tmp_path: Path) -> None:
    package = opened(tmp_path, made.sdist({"package/package.json": b"{}", "other/x.js": b"1"}), NPM)

    assert package.kind is Kind.NPM
    assert as_read(package) == {"package.json": b"{}", "x.js": b"1"}
    assert package.oddities == ()


def test_members_of_a_tarball_can_be_read_in_any_order(tmp_path: Path) -> None:
    """Also far back, which starts at a copy of the decompressor's state, with nothing kept in between."""
    numbers = random.Random(2)
    files = {f"t/{number}": numbers.randbytes(400_000) for number in range(60)}  # copies are 8 MiB apart
    package = opened(tmp_path, made.sdist(files), SDIST, Limits(cache=0))
    order = [*package.members]
    numbers.shuffle(order)

    assert all(member.read() == files[f"t/{member.path}"] for member in order)


def test_long_names_and_non_ascii_ones(tmp_path: Path) -> None:
    names = ["t/" + "a" * 90 + "/" + "b" * 150, "t/ünï.py", "t/" + "ä" * 200]
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", format=kind) as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
        package = opened(tmp_path, out.getvalue(), SDIST)

        assert [f"t/{member.path}" for member in package.members] == names
        assert package.oddities == ()


def test_several_gzip_streams_are_one(tmp_path: Path) -> None:
    first, second = made.entry("t/a", b"1"), made.entry("t/b", b"2")
    data = gzip.compress(first) + gzip.compress(second + bytes(1024)) + bytes(100)
    package = opened(tmp_path, data, SDIST)

    assert as_read(package) == {"a": b"1", "b": b"2"}
    assert package.oddities == ()


def test_links_that_lead_to_a_member_are_members_with_its_bytes(tmp_path: Path) -> None:
    entries = [
        made.entry("t/notes.txt", b"import os"),
        made.entry("t/setup.py", kind=b"2", link="deep/../notes.txt"),
        made.entry("t/hard.py", kind=b"1", link="t/notes.txt"),
        made.entry("t/far.py", kind=b"2", link="setup.py"),
        made.entry("t/round", kind=b"2", link="round"),
        made.entry("t/out", kind=b"2", link="/etc/passwd"),
    ]
    package = opened(tmp_path, made.tarred(*entries), SDIST)
    same = dict.fromkeys(("notes.txt", "setup.py", "hard.py", "far.py"), b"import os")

    assert as_read(package) == same
    assert "'t/out' is a link to '/etc/passwd'." in package.oddities
    assert "'t/hard.py' is a hard link to 't/notes.txt'." in package.oddities


def test_a_zip_as_large_ones_are_written(tmp_path: Path) -> None:
    """Zip64 (a size that stands in a field of its own), by a writer that cannot go back."""
    out = io.BytesIO()
    out.seekable = lambda: False  # type: ignore[method-assign]
    with zipfile.ZipFile(out, "w") as archive, archive.open("a", "w", force_zip64=True) as member:
        member.write(b"123")
    package = opened(tmp_path, out.getvalue(), WHEEL)

    assert as_read(package) == {"a": b"123"}
    assert package.oddities == ()


def test_part_of_a_member(tmp_path: Path) -> None:
    package = opened(tmp_path, made.wheel(FILES), WHEEL)
    member = package.member("thing/data.bin")
    assert member is not None

    assert member.read(10) == FILES["thing/data.bin"][:10]
    assert member.read(0) == b""
    assert member.read() == FILES["thing/data.bin"]
    assert package.member("thing/other") is None


def test_text_is_given_whatever_the_bytes(tmp_path: Path) -> None:
    package = opened(tmp_path, made.wheel({"a.py": b"x = '\xff'"}), WHEEL)

    assert next(iter(package.members)).text() == "x = '\N{REPLACEMENT CHARACTER}'"


def test_no_more_is_in_memory_than_the_limit(tmp_path: Path) -> None:
    package = opened(tmp_path, made.wheel(FILES), WHEEL, Limits(most=1000))

    assert {len(data) for data in as_read(package).values()} == {1000}


def test_what_was_read_is_kept_for_the_next_detector(tmp_path: Path) -> None:
    package = opened(tmp_path, made.wheel({"a.py": b"1"}), WHEEL)
    assert as_read(package) == {"a.py": b"1"}
    package.close()

    assert as_read(package) == {"a.py": b"1"}


def test_what_does_not_fit_into_the_cache_is_read_anew(tmp_path: Path) -> None:
    package = opened(tmp_path, made.wheel({"a.py": b"1" * 100}), WHEEL, Limits(cache=200))
    assert as_read(package) == {"a.py": b"1" * 100}
    package.close()

    with pytest.raises(BrokenError):
        as_read(package)


@pytest.mark.parametrize("name", ["thing-1.0.exe", "thing-1.0.egg", "thing-1.0.tar", "thing", ""])
def test_other_kinds_of_files_are_not_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokenError, match="is no wheel, sdist or npm tarball"):
        opened(tmp_path, made.wheel(FILES), Facts(filename=name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot be opened"):
        open_package(tmp_path / "none", WHEEL)
    with pytest.raises(ArchiveError):
        open_package(tmp_path, WHEEL)
