"""What can be read and is odd: told in plain words."""

from pathlib import Path

import pytest

from sandboxes.screening.archives import Limits
from sandboxes.screening.archives.limits import MIB
from sandboxes.screening.package import Facts
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL, Lie, as_read, opened, zipped

GOOD = made.wheel({"a.py": b"1"})
FILE = made.entry("t/a", b"1")
COMMENT = b"PK\5\6" + bytes(18)

TABLE: dict[str, tuple[bytes, Facts, str]] = {
    "a name twice": (zipped(Lie(b"a", b"1"), Lie(b"a", b"1")), WHEEL, "'a' is there more than once."),
    "case": (made.wheel({"a": b"", "A": b""}), WHEEL, "'a' and 'A' differ by case only."),
    "up": (made.wheel({"../a": b""}), WHEEL, "The path '../a' goes up with '..'."),
    "up in a tarball": (made.tarred(made.entry("t/../../a")), SDIST, "The path 't/../../a' goes up with '..'."),
    "absolute": (made.wheel({"/etc/a": b""}), WHEEL, "The path '/etc/a' is absolute."),
    "a backslash": (made.wheel({"a\\b": b""}), WHEEL, "has a backslash"),
    "a line's end in a name": (made.wheel({"a\nb": b""}), WHEEL, r"The path 'a\nb' has characters that are not shown."),
    "a NUL in a name": (zipped(Lie(b"a.py\0.txt", b"")), WHEEL, "has a NUL"),
    "no name": (zipped(Lie(b".", b"")), WHEEL, "A member has the name '.'."),
    "no UTF-8": (zipped(Lie(b"\xff", b"", flags=0x800)), WHEEL, r"The name '\\xff' is not UTF-8."),
    "not said to be UTF-8": (zipped(Lie("ä".encode(), b"")), WHEEL, "The name 'ä' does not say it is UTF-8."),
    "no UTF-8 in a tarball": (made.tarred(made.entry(b"t/\xff")), SDIST, r"The name 't/\\xff' is not UTF-8."),
    "another name before": (zipped(Lie(b"a", b"", local_name=b"b")), WHEEL, "'a' has another name ('b') before"),
    "another size before": (zipped(Lie(b"a", b"1", local_size=7)), WHEEL, "'a' has another size before its bytes."),
    "encrypted": (zipped(Lie(b"a", b"1", flags=1)), WHEEL, "'a' is encrypted."),
    "before the start": (b"#!/bin/sh\n" + GOOD, WHEEL, "There are 10 bytes before its start."),
    "after the end": (GOOD + b"12345", WHEEL, "There are 5 bytes after its end."),
    "between members": (zipped(Lie(b"a", b"1"), gap=b"xyz"), WHEEL, "belong to no member after 'a' (3 bytes)."),
    "a member that is not named": (
        zipped(Lie(b"a", b"1"), gap=b"PK\3\4" + bytes(40)), WHEEL,
        "There is a member that its directory does not name",
    ),
    "two ends": (GOOD[:-2] + b"\x16\0" + COMMENT, WHEEL, "It has two ends"),
    "a wrong number": (zipped(Lie(b"a", b"1"), count=3), WHEEL, "It says it has 3 members, and has 1."),
    "a link in a zip": (zipped(Lie(b"a", b"b", mode=0o120777)), WHEEL, "'a' is a link."),
    "a link": (made.tarred(FILE, made.entry("t/l", kind=b"2", link="/etc")), SDIST, "'t/l' is a link to '/etc'."),
    "a device": (made.tarred(FILE, made.entry("t/d", kind=b"3")), SDIST, "'t/d' is a device."),
    "a pipe": (made.tarred(FILE, made.entry("t/d", kind=b"6")), SDIST, "'t/d' is a pipe."),
    "an unknown kind": (made.tarred(FILE, made.entry("t/d", kind=b"Q")), SDIST, "'t/d' is of a kind that is not known"),
    "another first folder": (made.tarred(FILE, made.entry("u/b")), SDIST, "'u/b' lies outside the first folder, 't'."),
    "no folder": (made.tarred(made.entry("b")), NPM, "'b' lies in no folder."),
    "after an empty block": (made.tarred(FILE, bytes(512), made.entry("t/b")), SDIST, "goes on after an empty block"),
    "after a tarball's end": (made.tarred(FILE, bytes(1024), FILE), SDIST, "There is something after its end."),
    "code too long to be looked at": (
        made.wheel({"a.py": bytes(17 * MIB)}), WHEEL, "'a.py' has 17 MiB; only its first 16 MiB are looked at.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_it_is_told(tmp_path: Path, case: str) -> None:
    data, facts, sentence = TABLE[case]
    package = opened(tmp_path, data, facts)

    assert any(sentence in each for each in package.oddities), package.oddities


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./a//b", "a/b"),
        ("a/../setup.py", "setup.py"),
        ("/etc/x", "etc/x"),
        ("../x", "../x"),
        ("a/../../x", "../x"),
    ],
)
def test_a_path_is_where_it_would_be_put(tmp_path: Path, name: str, path: str) -> None:
    assert [each.path for each in opened(tmp_path, made.wheel({name: b""}), WHEEL).members] == [path]


def test_a_member_after_an_empty_block_is_one(tmp_path: Path) -> None:
    data = made.tarred(FILE, bytes(512), made.entry("t/b", b"2"))

    assert as_read(opened(tmp_path, data, SDIST)) == {"a": b"1", "b": b"2"}


def test_of_many_oddities_some_are_told_and_all_are_counted(tmp_path: Path) -> None:
    names = {f"/{number}": b"" for number in range(9)}
    package = opened(tmp_path, made.wheel(names), WHEEL, Limits(oddities=3))

    assert len(package.oddities) == 4
    assert package.oddities[-1] == "and 6 more of the kind"
