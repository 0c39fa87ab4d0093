"""Code side by side: the rows, and the child process that reads a stranger's archives."""

import io
import zipfile
from pathlib import Path

import pytest

from sandboxes.screening.comparing import asking
from sandboxes.screening.comparing.asking import Source
from sandboxes.screening.comparing.rows import (
    AROUND,
    LONGEST_LINE,
    MOST_ROWS,
    Row,
    shown,
    side_by_side,
)
from sandboxes.screening.package import Facts


def _looks(rows: list[Row]) -> list[str]:
    return [row.look for row in rows]


def test_what_changed_stands_side_by_side() -> None:
    rows = side_by_side("a\nb\nc\nd\n", "a\nB\nc\nnew\nd", [2])
    assert _looks(rows) == ["same", "changed", "same", "new", "same"]
    assert rows[1] == Row("changed", 2, "b", 2, "B", found=True)
    assert (rows[3].old, rows[3].new, rows[3].new_text) == (0, 4, "new")
    assert (rows[4].old, rows[4].new) == (4, 5)
    assert _looks(side_by_side("a\nb\nc", "a\nc", [0])) == ["same", "gone", "same"]


def test_without_a_previous_release_there_is_only_one_side() -> None:
    assert side_by_side(None, "a\rb\r\nc", [3]) == [
        Row("same", new=1, new_text="a"),
        Row("same", new=2, new_text="b"),
        Row("same", new=3, new_text="c", found=True),
    ]


def test_only_what_is_near_is_shown() -> None:
    text = "\n".join(f"line {number}" for number in range(1, 2001))
    rows = side_by_side(text, text.replace("line 1000", "evil"), [1000])
    assert rows[0] == Row("skip", new=999 - AROUND)
    assert rows[-1] == Row("skip", new=1000 - AROUND)
    assert len(rows) == 2 * AROUND + 3
    many = side_by_side(None, text, range(1, 2001, 90))
    assert sum(row.look != "skip" for row in many) == MOST_ROWS
    assert sum(row.new if row.look == "skip" else 1 for row in many) == 2000


def test_a_line_behind_the_end_is_the_last_one() -> None:
    assert side_by_side(None, "a\nb", [99])[-1].found
    assert _looks(side_by_side(None, "", [0])) == ["same"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain <b>", "plain <b>"),
        ("\tx", "    x"),
        ("a\x1b[31m\0", "a\\x1b[31m\\x00"),
        ("admin\u202e \u2066", "admin\\u{202e} \\u{2066}"),
        ("\u200b\ufeffé", "\\u{200b}\\u{feff}é"),
        ("x" * (LONGEST_LINE + 7), "x" * LONGEST_LINE + " … 7 more characters"),
    ],
)
def test_nothing_hides(text: str, told: str) -> None:
    assert shown(text) == told


def _wheel(path: Path, version: str, **members: bytes) -> Source:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__in__", "/").replace("__dot__", "."), content)
        archive.writestr(f"evil-{version}.dist-info/METADATA", f"Name: evil\nVersion: {version}\n")
        archive.writestr(f"evil-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr(f"evil-{version}.dist-info/RECORD", "")
    path.write_bytes(data.getvalue())
    return Source(str(path), Facts(f"evil-{version}-py3-none-any.whl", project="evil", version=version))


def test_the_child_reads_both(tmp_path: Path) -> None:
    new = _wheel(tmp_path / "new", "2.0", evil__in__a__dot__py=b"x = 1\nimport os\n", b__dot__bin=b"\0\1")
    old = _wheel(tmp_path / "old", "1.0", evil__in__a__dot__py=b"x = 1\n")
    wanted = {"evil/a.py": [2], "b.bin": [0], "evil-2.0.dist-info/METADATA": [2], "absent": [1]}
    answer = asking.compare(new, old, wanted)
    assert answer.error == ""
    code, binary, metadata, absent = answer.codes
    assert (_looks(list(code.rows)), code.compared) == (["same", "new"], True)
    assert binary.note == "It is no text."
    assert _looks(list(metadata.rows)) == ["same", "changed"]  # of a folder that has another name
    assert absent.note == "It is not in the archive."


def test_without_the_previous_release(tmp_path: Path) -> None:
    new = _wheel(tmp_path / "new", "2.0", a__dot__py=b"import os\n", b__dot__py=b"import sys\n")
    alone = asking.compare(new, None, {"a.py": [1]}).codes[0]
    assert (alone.compared, alone.note, alone.rows[0].found) == (False, "", True)
    old = _wheel(tmp_path / "old", "1.0")
    assert "does not have this file" in asking.compare(new, old, {"a.py": [1]}).codes[0].note
    Path(old.path).write_bytes(b"no zip")
    broken = asking.compare(new, old, {"a.py": [1]}).codes[0]
    assert "previous release cannot be read" in broken.note
    assert broken.rows
    many = asking.compare(new, None, {f"{number}.py": [1] for number in range(asking.MOST_MEMBERS + 3)})
    assert (len(many.codes), many.left_out) == (asking.MOST_MEMBERS, 3)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    source = Source(str(path), Facts("evil-2.0-py3-none-any.whl"))
    assert "cannot be opened" in asking.compare(source, None, {"a": [1]}).error
    path.write_bytes(b"PK\x03\x04 and no more")
    assert asking.compare(source, None, {"a": [1]}).error.startswith("It cannot be read")


def test_the_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_KEY", "hush")
    assert "hush" not in str(asking._environment())
