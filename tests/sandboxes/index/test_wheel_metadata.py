"""A wheel's METADATA: read from few bytes, and never from an archive that could be read in two ways."""

import io
import struct
import warnings
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index import wheel_metadata
from sandboxes.index.core_metadata import LARGEST, is_metadata_of
from sandboxes.index.wheel_metadata import NotReadableError, metadata_of
from tests.sandboxes.index.wheels import make_wheel

NAME = "demo-1.0.dist-info/METADATA"
GOOD = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", method) as archive:
        # Two members of one name, which it warns of, are meant.
        for name, data in files:
            archive.writestr(name, data)
        archive.comment = comment
    return buffer.getvalue()


class Reader:
    """Bytes that are read in parts, and how many were."""

    def __init__(self, data: bytes) -> None:
        self.data, self.read = data, 0

    async def __call__(self, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= len(self.data)
        self.read += stop - start
        return self.data[start:stop]


async def read(data: bytes, project: str = "demo", version: str = "1.0") -> bytes:
    return await metadata_of(Reader(data), len(data), project, version)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
async def test_it_is_found_whatever_is_around_it(method: int) -> None:
    others = [(f"demo/{n}.py", b"x = 1\n" * n) for n in range(2000)]  # the directory is longer than the tail
    assert await read(zipped(*others, (NAME, GOOD), method=method)) == GOOD
    assert await read(zipped(("demo.dist-info/sub/METADATA", b""), (NAME, GOOD), comment=b"by hand")) == GOOD


async def test_a_wheel_of_the_tests_reads_as_its_page_says() -> None:
    wheel = make_wheel("tree", requires="leaf>=1")
    assert await read(wheel.data, "tree") == wheel.metadata


async def test_of_a_large_wheel_only_the_end_and_the_metadata_are_read() -> None:
    reader = Reader(make_wheel(padding=bytes(range(256)) * 40_000).data)
    assert await metadata_of(reader, len(reader.data), "demo", "1.0")
    assert reader.read < 70_000 < len(reader.data)


BOMB = zipped((NAME, GOOD + b" " * LARGEST))
TWO = zipped((NAME, GOOD), (NAME, GOOD + b"Requires-Dist: evil\n"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(
            zipped((NAME, GOOD.replace(b"demo", b"other"))), "another project", id="another project's"
        ),
        pytest.param(zipped((NAME, GOOD.replace(b"1.0", b"2.0"))), "another project", id="another version's"),
        pytest.param(zipped((NAME, b"\xff\x00")), "another project", id="no metadata"),
        pytest.param(BOMB, "size that none has", id="a bomb"),
        pytest.param(TWO, "2 members", id="two members of one name"),
        pytest.param(
            zipped((NAME, GOOD), ("other-1.0.dist-info/METADATA", GOOD)), "2 members", id="two dist-infos"
        ),
        pytest.param(zipped(("demo.py", b"")), "0 members", id="none"),
        pytest.param(zipped((NAME, GOOD), method=zipfile.ZIP_BZIP2), "1 members", id="an unusual packing"),
        pytest.param(b"#!/bin/sh\n" + zipped((NAME, GOOD)), "not before the end", id="something before it"),
        pytest.param(zipped((NAME, GOOD)) + b"more", "end that no wheel has", id="something behind it"),
        pytest.param(b"", "no end", id="empty"),
        pytest.param(b"PK\5\6", "no end", id="too short"),
    ],
)
async def test_wheels_that_lie_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotReadableError, match=why):
        await read(data)


def forged(data: bytes, offset: int, fmt: str, value: int) -> bytes:
    """The archive with one field of its directory's first member changed."""
    start = data.index(b"PK\1\2") + offset
    return data[:start] + struct.pack(fmt, value) + data[start + struct.calcsize(fmt) :]


@pytest.mark.parametrize(
    ("offset", "fmt", "value"),
    [
        pytest.param(8, "<H", 1, id="encrypted"),
        pytest.param(10, "<H", 0, id="stored, and it is deflated"),
        pytest.param(16, "<L", 1, id="another CRC"),
        pytest.param(20, "<L", 5, id="shorter than it is"),
        pytest.param(20, "<L", 2000, id="longer than it is"),
        pytest.param(24, "<L", 3, id="unpacks to more than it says"),
        pytest.param(24, "<L", 99, id="unpacks to less than it says"),
        pytest.param(24, "<L", 0, id="empty"),
        pytest.param(28, "<H", 60000, id="a name beyond the directory"),
        pytest.param(42, "<L", 7, id="a header elsewhere"),
    ],
)
async def test_directories_that_lie_are_refused(offset: int, fmt: str, value: int) -> None:
    with pytest.raises(NotReadableError):
        await read(forged(zipped((NAME, GOOD)), offset, fmt, value))


async def test_an_archive_cannot_make_its_reader_allocate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel_metadata, "_LARGEST_DIRECTORY", 100)
    many = zipped(*((f"{n}.py", b"") for n in range(10)), (NAME, GOOD))
    with pytest.raises(NotReadableError, match="end that no wheel has"):
        await read(many)


@given(st.data())
async def test_any_damage_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    whole = bytearray(zipped(("demo.py", b"x"), (NAME, GOOD)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 8))
    damaged = bytes(whole[: len(whole) - cut])
    try:
        found = await read(damaged)
    except NotReadableError:
        return
    assert zlib.crc32(found) == zlib.crc32(GOOD) or is_metadata_of(found, "demo", "1.0")


@given(st.binary(max_size=400))
async def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(NotReadableError):
        await read(data)


@pytest.mark.parametrize("more", [b"\n\0", b"\nPK\3\4\0", b"\n\xff\xfe", b"\n\x7fELF\x80"])
async def test_metadata_is_text_and_nothing_else(more: bytes) -> None:
    """It leaves without an install on record, so it must not be a program as well."""
    assert is_metadata_of(GOOD + "\nDémo, 日本語\n".encode(), "demo", "1.0")
    assert not is_metadata_of(GOOD + more, "demo", "1.0")
    with pytest.raises(NotReadableError, match="another project or version"):
        await read(zipped((NAME, GOOD + more)))
