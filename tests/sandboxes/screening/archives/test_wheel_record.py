"""RECORD against the members."""

import base64
import hashlib
from pathlib import Path

import pytest

from sandboxes.screening.archives.wheel_record import TOLD, record_disagreements
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import SDIST, WHEEL, opened

INFO = "thing-1.0.dist-info"


def _row(path: str, data: bytes, algorithm: str = "sha256") -> str:
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).decode().rstrip("=")
    return f"{path},{algorithm}={digest},{len(data)}\n"


FILES = {"thing.py": b"x = 1\n", "a,b.py": b""}
ROWS = _row("thing.py", FILES["thing.py"]) + _row('"a,b.py"', b"")
OWN = f"{INFO}/RECORD,,\n"


def _told(tmp_path: Path, record: str, files: dict[str, bytes] = FILES) -> list[str]:
    data = made.wheel({**files, f"{INFO}/RECORD": record.encode()})
    return list(record_disagreements(opened(tmp_path, data, WHEEL)))


def test_one_that_agrees(tmp_path: Path) -> None:
    assert _told(tmp_path, ROWS + OWN) == []


TABLE = {
    "missing": (ROWS + "gone.py,,\n", FILES, "RECORD names 'gone.py', which is not there."),
    "left out": (ROWS, {**FILES, "evil.pth": b"import x"}, "RECORD leaves out 'evil.pth'."),
    "altered": (ROWS, {**FILES, "thing.py": b"x = 2\n"}, "RECORD has another hash of 'thing.py'"),
    "another size": (ROWS, {**FILES, "thing.py": b"xx"}, "RECORD says 'thing.py' has '6' bytes; it has 2."),
    "no hash": ('thing.py,,\n"a,b.py",,', FILES, "RECORD has no hash of 'thing.py'."),
    "a weak hash": (_row("thing.py", b"x = 1\n", "md5"), FILES, "that proves nothing ('md5')"),
    "twice": (ROWS + ROWS, FILES, "RECORD names 'thing.py' twice."),
    "unreadable": (ROWS + '"' + "x" * 200_000, FILES, "RECORD cannot be read to its end"),
}


@pytest.mark.parametrize("case", TABLE)
def test_one_that_disagrees(tmp_path: Path, case: str) -> None:
    record, files, sentence = TABLE[case]

    assert any(sentence in each for each in _told(tmp_path, record, files))


def test_none_and_two(tmp_path: Path) -> None:
    none = opened(tmp_path, made.wheel(FILES), WHEEL)
    two = opened(tmp_path, made.wheel({"a.dist-info/RECORD": b"", "b.dist-info/RECORD": b""}), WHEEL)

    assert list(record_disagreements(none)) == ["There is no RECORD."]
    assert list(record_disagreements(two)) == ["There are 2 files named RECORD."]


def test_an_sdist_has_none(tmp_path: Path) -> None:
    assert list(record_disagreements(opened(tmp_path, made.sdist({"t/a": b""}), SDIST))) == []


def test_hashes_are_made_up_to_a_number_of_bytes_smallest_first(tmp_path: Path) -> None:
    files = {"big.so": b"2" * 1000, "small.py": b"2" * 10}
    record = _row("big.so", b"1" * 1000) + _row("small.py", b"1" * 10) + OWN
    package = opened(tmp_path, made.wheel({**files, f"{INFO}/RECORD": record.encode()}), WHEEL)

    assert [each.split("'")[1] for each in record_disagreements(package, 100)] == ["small.py"]
    assert [each.split("'")[1] for each in record_disagreements(package)] == ["small.py", "big.so"]


def test_no_more_is_told_than_a_person_reads(tmp_path: Path) -> None:
    told = _told(tmp_path, ROWS + "".join(f"gone{number}.py,,\n" for number in range(500)))

    assert len(told) == TOLD + 1
    assert told[-1] == "RECORD disagrees in more than that."
