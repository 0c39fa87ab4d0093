"""Archives that are too much: each limit, with an archive that really breaks it."""

import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from sandboxes.screening.archives import DEFAULT, LimitError, Limits
from sandboxes.screening.archives.limits import GIB, MIB
from sandboxes.screening.package import Facts
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL, Lie, as_read, opened, zipped

ZEROS = bytes(40 * MIB)
FEW = Limits(members=3)
FOUR = {f"t/{number}": b"" for number in range(4)}

TABLE: dict[str, tuple[bytes, Facts, Limits, str]] = {
    "members of a zip": (made.wheel(FOUR), WHEEL, FEW, "more than 3 members"),
    "members of a tarball": (made.sdist(FOUR), SDIST, FEW, "more than 3 members"),
    "headers count too": (
        made.tarred(*[made.pax(path=f"t/{n}") + made.entry("t/a") for n in range(2)]),
        SDIST,
        FEW,
        "more than 3 members",
    ),
    "one member of a zip": (
        made.wheel({"a": b"12345"}),
        WHEEL,
        Limits(member=4),
        "'a' has 5 bytes; at most 4",
    ),
    "one member of a tarball": (made.sdist({"t/a": b"12345"}), NPM, Limits(member=4), "at most 4 bytes"),
    "all of a zip": (made.wheel({"a": b"123", "b": b"45"}), WHEEL, Limits(total=4), "unpacks to 5 bytes"),
    "all of a tarball": (
        made.sdist({"t/a": bytes(70_000)}),
        SDIST,
        Limits(total=70_100),
        "unpacks to more than",
    ),
    "a flat bomb": (made.wheel({"a": ZEROS}), WHEEL, DEFAULT, "300 times its size, 40 MiB: a bomb"),
    "a bomb of many": (
        made.wheel({str(number): ZEROS[: 3 * MIB] for number in range(12)}),
        WHEEL,
        DEFAULT,
        "100 times its size, 36 MiB: a bomb",
    ),
    "a bomb in a tarball": (made.sdist({"t/a": ZEROS}), SDIST, DEFAULT, "100 times its size: a bomb"),
    "a bomb in bz2": (
        made.sdist({"t/a": ZEROS}, "w:bz2"),
        Facts(filename="t-1.tar.bz2"),
        DEFAULT,
        "100 times its size: a bomb",
    ),
    "bytes shared by members": (
        zipped(Lie(b"a", b"1" * 100), Lie(b"b", b"1" * 100, packed=b"x" * 4, offset=0)),
        WHEEL,
        DEFAULT,
        "shares its bytes with another member: a bomb",
    ),
    "a long path": (made.wheel({"a" * 1025: b""}), WHEEL, DEFAULT, "longer than 1024 characters"),
    "a long path by pax": (
        made.tarred(made.pax(path="t/" + "a" * 1025), made.entry("t/a")),
        SDIST,
        DEFAULT,
        "longer than 1024 characters",
    ),
    "deep folders": (made.wheel({"a/" * 65 + "b": b""}), WHEEL, DEFAULT, "under more than 64 folders"),
    "a huge pax header": (
        made.tarred(made.entry("p", b"x" * (2 * MIB), b"x")),
        SDIST,
        DEFAULT,
        "a header in it has 2 MiB; at most 1 MiB",
    ),
    "a pax header that says it is huge": (
        made.tarred(made.block(b"p", 7 * GIB, b"x")),
        SDIST,
        DEFAULT,
        "a header in it has 7 GiB",
    ),
    "a size that no disk has": (
        made.tarred(made.block(b"t/a", 2**80, b"0")),
        SDIST,
        DEFAULT,
        "at most 8 GiB are read",
    ),
    "the same by pax": (
        made.tarred(made.pax(size=str(2**60)), made.entry("t/a")),
        SDIST,
        DEFAULT,
        "at most 8 GiB are read",
    ),
    "a huge directory": (
        made.wheel({"a": b""}),
        WHEEL,
        Limits(names=46),
        "its directory has 47 bytes; at most 46",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_breaks_a_limit_is_not_opened(tmp_path: Path, case: str) -> None:
    data, facts, limits, reason = TABLE[case]

    with pytest.raises(LimitError, match=reason):
        opened(tmp_path, data, facts, limits)


def test_just_within_the_limits(tmp_path: Path) -> None:
    """The counterpart: the same archives, one less."""
    deep = "/".join(["a"] * 65)
    package = opened(
        tmp_path, made.wheel({deep: b"1234", "b" * 1024: b""}), WHEEL, replace(DEFAULT, members=2, total=4)
    )

    assert as_read(package) == {deep: b"1234", "b" * 1024: b""}


def test_100_001_members(tmp_path: Path) -> None:
    parts = []
    body = b""
    for number in range(100_001):
        name = b"%06d" % number
        parts.append(
            struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 6, *[0] * 5, 0) + name
        )
    directory = b"".join(parts)

    with pytest.raises(LimitError, match="more than 100000 members"):
        opened(tmp_path, body + directory + made.zip_end(100_001, len(directory), 0), WHEEL)


def test_small_files_of_zeros_are_no_bomb(tmp_path: Path) -> None:
    data = {"a": bytes(20 * MIB)}

    assert as_read(opened(tmp_path, made.wheel(data), WHEEL)).keys() == {"a"}


def test_a_bomb_inside_is_a_member_like_others(tmp_path: Path) -> None:
    """For whoever only lists: what is in it is counted when it is looked into."""
    inner = made.wheel({"zeros": ZEROS})
    for _ in range(5):
        inner = made.wheel({"inner.zip": inner})

    assert len(as_read(opened(tmp_path, inner, WHEEL))["inner.zip"]) < MIB


def test_a_size_that_is_less_than_there_is(tmp_path: Path) -> None:
    data = zipped(Lie(b"a.py", b"x" * 5000, size=10))
    package = opened(tmp_path, data, WHEEL)

    with pytest.raises(LimitError, match=r"'a.py' says it has 10 bytes, and has more"):
        as_read(package)
    assert package.broken == "'a.py' says it has 10 bytes, and has more"


def test_reading_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    """One that says it is small: it is noticed at its first chunk."""
    package = opened(tmp_path, zipped(Lie(b"a", ZEROS, size=10)), WHEEL)
    tracemalloc.start()
    try:
        with pytest.raises(LimitError):
            as_read(package)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < MIB


def test_many_headers_in_a_row_are_no_recursion(tmp_path: Path) -> None:
    headers = made.pax(comment="x") * 5000

    assert as_read(opened(tmp_path, made.tarred(headers, made.entry("t/a", b"1")), SDIST)) == {"a": b"1"}
