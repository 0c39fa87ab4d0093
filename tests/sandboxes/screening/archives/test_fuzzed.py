"""Whatever the bytes: an archive, or an `ArchiveError`, and never more than the limits."""

import gzip
import lzma
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandboxes.screening.archives import ArchiveError, ArchivePackage, Limits, Trouble
from sandboxes.screening.archives.inside import MARK
from sandboxes.screening.archives.wheel_record import record_disagreements
from sandboxes.screening.package import Facts
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL, Lie, opened, zipped

SMALL = Limits(
    members=50, member=100_000, total=300_000, floor=10_000, ratio=50, member_ratio=50, path=200, depth=8,
    names=20_000, extra=2_000, oddities=10, cache=50_000, most=60_000,
    nesting=3, inside_members=60, inside_total=300_000, inside_held=200_000,
)  # fmt: skip
BZ2, XZ = Facts(filename="t-1.tar.bz2"), Facts(filename="t-1.tar.xz")
ALL = [WHEEL, SDIST, NPM, BZ2, XZ]
FILES = {"t/a.py": b"x = 1\n" * 50, "t/" + "long" * 40: b"", "t-1.dist-info/RECORD": b"t/a.py,sha256=x,3\n"}
RANDOM = random.Random(3).randbytes(2000)
LINKED = made.pax(path="t/x", size="3") + made.entry("t/y", b"abc") + made.entry("t/l", kind=b"2", link="x")
SEEDS = [
    (WHEEL, made.wheel(FILES)),
    (WHEEL, made.wheel(FILES, 0)),
    (WHEEL, made.wheel({"a": RANDOM}, 14)),
    (WHEEL, zipped(Lie(b"a", b"1", flags=8), Lie("ä".encode(), RANDOM), gap=b"xx")),
    (SDIST, made.sdist(FILES)),
    (BZ2, made.sdist(FILES, "w:bz2")),
    (XZ, made.sdist(FILES, "w:xz")),
]
TAR = LINKED + made.entry("n", b"t/long\0", b"L") + made.entry("t/z", b"1") + bytes(1024)
QUIET = [HealthCheck.function_scoped_fixture]


def read_whatever_it_is(folder: Path, data: bytes, facts: Facts) -> None:
    """What a scan does. Raises what must never be raised."""
    try:
        package = opened(folder, data, facts, SMALL)
    except ArchiveError:
        return
    assert len(package.members) <= 2 * SMALL.members  # with what links lead to
    assert len(package.oddities) <= SMALL.oddities + 1
    total = 0
    for member in package.members:
        assert len(member.path) <= SMALL.path
        member.path.encode("utf-8")  # reports are JSON
        try:
            data = member.read()
        except ArchiveError:
            continue
        assert len(data) <= min(member.size, SMALL.most)
        total += len(data)
    assert total <= 2 * SMALL.total
    with suppress(ArchiveError):
        list(record_disagreements(package))
    look_inside(package)


def look_inside(package: ArchivePackage) -> None:
    """Every member of every archive in it can be read, as far as it can, and found by its path."""
    total = 0
    try:
        for each in package.inside(SMALL):
            each.path.encode("utf-8")
            if isinstance(each, Trouble):
                assert each.reason
                continue
            assert each.path.count(MARK) < SMALL.nesting
            for member in each.members:
                total += len(member.read())
                assert member.read() == member.read()
    except ArchiveError:
        assert package.broken  # only of the file itself
    assert total <= 2 * SMALL.inside_total


@settings(max_examples=150, suppress_health_check=QUIET, deadline=None)
@given(
    data=st.binary(max_size=2000),
    facts=st.sampled_from(ALL),
    head=st.sampled_from([b"", b"PK\3\4", b"\x1f\x8b\x08"]),
)
def test_random_bytes(tmp_path: Path, data: bytes, facts: Facts, head: bytes) -> None:
    read_whatever_it_is(tmp_path, head + data, facts)


Changes = list[tuple[float, int]]
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
CUT = st.one_of(st.just(1.0), st.floats(0, 1))


def changed(data: bytes, changes: Changes, cut: float) -> bytes:
    out = bytearray(data)
    for place, value in changes:
        out[int(place * len(out))] = value
    return bytes(out[: int(len(out) * cut)])


@settings(max_examples=400, suppress_health_check=QUIET, deadline=None)
@given(seed=st.sampled_from(SEEDS), changes=CHANGES, cut=CUT)
def test_archives_that_were_changed(
    tmp_path: Path, seed: tuple[Facts, bytes], changes: Changes, cut: float
) -> None:
    facts, data = seed
    read_whatever_it_is(tmp_path, changed(data, changes, cut), facts)


@settings(max_examples=400, suppress_health_check=QUIET, deadline=None)
@given(changes=CHANGES, cut=CUT, mend=st.booleans())
def test_tarballs_that_were_changed_inside(tmp_path: Path, changes: Changes, cut: float, mend: bool) -> None:
    """Below gzip's checksum; mended, below the headers' too."""
    inside = changed(TAR, changes, cut)
    if mend:
        inside = b"".join(_mended(inside[at : at + 512]) for at in range(0, len(inside), 512))
    read_whatever_it_is(tmp_path, gzip.compress(inside, mtime=0), SDIST)


def _mended(block: bytes) -> bytes:
    if block[257:262] != b"ustar" or len(block) < 512:
        return block
    return block[:148] + b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256) + block[156:]


NESTED = [
    *(data for _, data in SEEDS),
    TAR,
    b"#!/bin/sh\n" + made.wheel(FILES),
    gzip.compress(made.wheel(FILES)),
    made.wheel({"t/a.zip": made.wheel(FILES), "t/b.tgz": made.sdist(FILES)}, 0),
]


@settings(max_examples=400, suppress_health_check=QUIET, deadline=None)
@given(seed=st.sampled_from(NESTED), changes=CHANGES, cut=CUT, wheel=st.booleans())
def test_archives_inside_that_were_changed(
    tmp_path: Path, seed: bytes, changes: Changes, cut: float, wheel: bool
) -> None:
    """The file around them is in order, so its checksums say nothing."""
    data = changed(seed, changes, cut)
    read_whatever_it_is(tmp_path, *nested(data, WHEEL if wheel else SDIST))


def nested(data: bytes, facts: Facts) -> tuple[bytes, Facts]:
    files = {"t/x": data, "t/good.zip": made.wheel({"a.py": b"1"})}
    return (made.wheel(files, 0) if facts is WHEEL else made.sdist(files)), facts


@settings(max_examples=100, suppress_health_check=QUIET, deadline=None)
@given(layers=st.lists(st.sampled_from(["zip", "gz", "xz", "tar"]), max_size=6), data=st.binary(max_size=200))
def test_any_layers(tmp_path: Path, layers: list[str], data: bytes) -> None:
    for layer in layers:
        if layer == "zip":
            data = made.wheel({"x": data})
        elif layer == "tar":
            data = made.entry("x", data) + bytes(1024)
        else:
            data = gzip.compress(data) if layer == "gz" else lzma.compress(data)
    read_whatever_it_is(tmp_path, *nested(data, WHEEL))


@pytest.mark.parametrize("data", NESTED)
def test_the_nested_seeds_are_opened(tmp_path: Path, data: bytes) -> None:
    package = opened(tmp_path, *nested(data, WHEEL), SMALL)

    assert next(each.path for each in package.inside(SMALL)) == "t/x"


@pytest.mark.parametrize(("facts", "data"), SEEDS)
def test_the_seeds_are_good(tmp_path: Path, facts: Facts, data: bytes) -> None:
    """Else the mutations would test nothing but the first check."""
    assert opened(tmp_path, data, facts, SMALL).members
