"""Holes are filled in parsed values only, so no value can become structure."""

from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster.templates import load_documents
from sandboxes.errors import TemplateError


def fill(tmp_path: Path, text: str, **values: Any) -> dict[str, Any]:
    path = tmp_path / "template.yaml"
    path.write_text(text)
    (document,) = load_documents(path)
    return document.filled(values)


def test_a_hole_alone_keeps_its_type(tmp_path: Path) -> None:
    filled = fill(tmp_path, "a: ${n}\nb: ${l}\nc: '${m}'\n", n=3, l=[1], m={"x": None})
    assert filled == {"a": 3, "b": [1], "c": {"x": None}}


def test_a_hole_filled_with_none_takes_its_key_along(tmp_path: Path) -> None:
    text = "a: ${n}\nb: {c: '${n}', d: 1}\ne: ['${n}', {f: '${n}'}, 2]\ng: null\nh: [null]\ni: ${m}\n"
    filled = fill(tmp_path, text, n=None, m={"x": None})
    assert filled == {"b": {"d": 1}, "e": [{}, 2], "g": None, "h": [None], "i": {"x": None}}


def test_what_is_empty_or_zero_stays(tmp_path: Path) -> None:
    assert fill(tmp_path, "a: ${x}\nb: ${y}\nc: ${z}\n", x=0, y="", z=[]) == {"a": 0, "b": "", "c": []}


def test_holes_in_text_become_text(tmp_path: Path) -> None:
    assert fill(tmp_path, 'a: "${x}-${y}/$${x} $HOME"\n', x="p", y=2) == {"a": "p-2/${x} $HOME"}


@pytest.mark.parametrize(
    "value", ["x\nevil: true", "x: {y: z}", "- a", "# no", "${x}", "!!python/object:os", "'"]
)
def test_a_value_is_never_read_as_yaml(tmp_path: Path, value: str) -> None:
    assert fill(tmp_path, "a: ${x}\nb: is ${x}!\n", x=value) == {"a": value, "b": f"is {value}!"}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: ${nobody}\n", 2, "unknown placeholder ${nobody}"),
        ("a: 1\nb: x${l}\n", 2, "must stand alone"),
        ("a: 1\nb: x${n}\n", 2, "must stand alone"),
        ("a: 1\nb: [\n", 3, "bad YAML"),
        ("a: 1\n\tb: 2\n", 2, "bad YAML"),
        ("a: 1\na: 2\n", 2, "duplicate key"),
        ("a: 1\n${l}: 2\n", 2, "without placeholders"),
        ("a: 1\n3: 2\n", 2, "must be text"),
        ("a: 1\nb: 2020-01-01\n", 2, "quote it"),
        ("a: 1\nb: !!python/name:os.system x\n", 2, "unknown type"),
        ("- a\n", 1, "must be a mapping"),
        ("a: &x\n  b: *x\n", 1, "alias"),
        ("a: &x 1\nb: *x\n", 1, "alias"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        fill(tmp_path, text, l=[1], n=None)
    assert f"template.yaml:{line}: " in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateError, match="cannot be read"):
        load_documents(path)
    with pytest.raises(TemplateError, match="cannot be read"):
        load_documents(tmp_path / "missing.yaml")
