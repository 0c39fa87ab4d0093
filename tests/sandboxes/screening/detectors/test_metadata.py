"""What a file says of itself against its name, its page and its archive; on both sides of each line."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandboxes.screening.archives import ArchivePackage
from sandboxes.screening.detectors import metadata
from sandboxes.screening.detectors.metadata import look
from sandboxes.screening.package import Kind
from tests.sandboxes.screening import packages
from tests.sandboxes.screening.detectors.opened import looked, npm, opened, sdist, told, wheel

INFO = "thing-1.0.dist-info"
PLAIN = {"thing/__init__.py": "x = 1\n"}


def says(**fields: str) -> str:
    known = {"Metadata-Version": "2.1", "Name": "thing", "Version": "1.0"} | {
        name.replace("_", "-"): value for name, value in fields.items()
    }
    return "".join(f"{name}: {value}\n" for name, value in known.items() if value)


def test_good_archives_of_all_kinds_have_nothing_to_tell(tmp_path: Path) -> None:
    for made in (wheel(tmp_path, PLAIN), sdist(tmp_path, PLAIN), npm(tmp_path, {"index.js": ""})):
        assert looked(metadata, made) == []


WHEELS: list[tuple[str, str, dict[str, Any], set[tuple[str, str]]]] = [
    ("the same, spelled otherwise", says(Name="Thing", Version="1.0.0"), {}, set()),
    ("another project", says(Name="other"), {}, {("metadata.name", "high")}),
    ("no name", says(Name=""), {}, {("metadata.name", "high")}),
    ("another version", says(Version="1.1"), {}, {("metadata.version", "high")}),
    ("no version", says(Version=""), {}, {("metadata.version", "high")}),
    ("a version of a million digits", says(Version="1" * 1_000_000), {}, {("metadata.version", "high")}),
    ("a page without facts", says(Name="other", Version="2"), {"project": "", "version": ""}, set()),
    ("the same Pythons", says(Requires_Python=">=3.9, <4"), {"requires_python": "<4,>=3.9"}, set()),
    (
        "other Pythons",
        says(Requires_Python=">=3.9"),
        {"requires_python": ">=3.8"},
        {("metadata.requires-python", "low")},
    ),
    ("Pythons that the page does not know", says(Requires_Python=">=3.9"), {}, set()),
    ("no Pythons", says(), {"requires_python": ">=3.8"}, {("metadata.requires-python", "low")}),
    ("Pythons that are none", says(Requires_Python="?"), {"requires_python": "?"}, set()),
    ("a page of another project", says(Name="other"), {"project": "other"}, {("metadata.file-name", "high")}),
    ("a page of another version", says(Version="2"), {"version": "2"}, {("metadata.file-name", "medium")}),
]


@pytest.mark.parametrize(
    ("text", "facts", "expected"), [row[1:] for row in WHEELS], ids=[row[0] for row in WHEELS]
)
def test_wheels(text: str, facts: dict[str, Any], expected: set[tuple[str, str]], tmp_path: Path) -> None:
    made = opened(packages.wheel(PLAIN, metadata=text), tmp_path, "thing-1.0-py3-none-any.whl", **facts)
    assert told(looked(metadata, made)) == expected


SDISTS: list[tuple[str, dict[str, str], set[tuple[str, str]]]] = [
    ("nothing said", {"PKG-INFO": ""}, {("metadata.name", "high"), ("metadata.version", "high")}),
    ("another project", {"PKG-INFO": says(Name="other")}, {("metadata.name", "high")}),
]


@pytest.mark.parametrize(("files", "expected"), [row[1:] for row in SDISTS], ids=[row[0] for row in SDISTS])
def test_sdists(files: dict[str, str], expected: set[tuple[str, str]], tmp_path: Path) -> None:
    assert told(looked(metadata, sdist(tmp_path, files))) == expected


def test_old_sdists_that_say_nothing_are_common(tmp_path: Path) -> None:
    made = opened(packages.sdist_zip({"setup.py": ""}), tmp_path, "thing-1.0.zip")
    assert told(looked(metadata, made)) == {("metadata.missing", "low")}


NPM: list[tuple[str, str, dict[str, Any], set[tuple[str, str]]]] = [
    ("the same", '{"name": "thing", "version": "1.0"}', {}, set()),
    ("with a v", '{"name": "thing", "version": "v1.0"}', {}, set()),
    ("another project", '{"name": "other", "version": "1.0"}', {}, {("metadata.name", "high")}),
    ("another version", '{"name": "thing", "version": "1.1"}', {}, {("metadata.version", "high")}),
    ("nothing", "{}", {}, {("metadata.name", "high"), ("metadata.version", "high")}),
    ("no JSON", "{", {}, {("metadata.missing", "medium")}),
    ("a list", "[]", {}, {("metadata.missing", "medium")}),
    ("deep", "[" * 100_000, {}, {("metadata.missing", "medium")}),
]


@pytest.mark.parametrize(("text", "facts", "expected"), [row[1:] for row in NPM], ids=[row[0] for row in NPM])
def test_npm(text: str, facts: dict[str, Any], expected: set[tuple[str, str]], tmp_path: Path) -> None:
    assert told(looked(metadata, npm(tmp_path, {"package.json": text}, **facts))) == expected


@pytest.mark.parametrize(
    "filename", ["thing.whl", "thing-1.0.whl", "thing-1.0-py3-none.whl", "thing-one-py3-none-any.whl"]
)
def test_a_file_name_that_no_standard_allows(filename: str, tmp_path: Path) -> None:
    assert told(looked(metadata, opened(packages.wheel(PLAIN), tmp_path, filename))) == {
        ("metadata.file-name", "medium")
    }


TAGS: list[tuple[str, str, set[tuple[str, str]]]] = [
    ("the same", "Tag: py3-none-any\n", set()),
    ("one of two", "Tag: py2-none-any\nTag: py3-none-any\n", set()),
    ("in one", "Tag: py2.py3-none-any\n", set()),
    ("others", "Tag: cp313-cp313-win_amd64\n", {("metadata.tags", "medium")}),
    ("none", "", set()),
    ("nonsense", "Tag: x\n", set()),
    ("one that stands for trillions", f"Tag: {'.'.join('a' * 99_999)}-{'.'.join('b' * 99_999)}-any\n", set()),
]


@pytest.mark.parametrize(("tags", "expected"), [row[1:] for row in TAGS], ids=[row[0] for row in TAGS])
def test_what_it_was_built_for(tags: str, expected: set[tuple[str, str]], tmp_path: Path) -> None:
    made = wheel(tmp_path, {**PLAIN, f"{INFO}/WHEEL": f"Wheel-Version: 1.0\n{tags}"})
    assert told(looked(metadata, made)) == expected


VERSIONS = [
    ("99.9.9", 1, True),
    ("9999.0", 5, True),
    ("99.9.9", 6, False),  # somebody counted
    ("99.9.9", 0, False),  # not known
    ("2026.1", 1, False),
    ("89.0", 1, False),
    ("1!2.0", 1, False),
    ("", 1, False),
    ("9" * 5000, 1, True),
]


@pytest.mark.parametrize(("version", "releases", "found"), VERSIONS)
def test_a_version_that_outbids_all_others(version: str, releases: int, found: bool) -> None:
    made = packages.package({}, version=version, releases=releases)
    rules = {each.rule for each in look(made, None)}
    assert ("metadata.version-high" in rules) is found


def test_two_sets_of_metadata(tmp_path: Path) -> None:
    made = wheel(tmp_path, {**PLAIN, "other-1.0.dist-info/METADATA": says(Name="other")})
    assert ("metadata.two", "high") in told(looked(metadata, made))


def test_no_metadata_at_all(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("thing.py", "")
    made = opened(packed.getvalue(), tmp_path, "thing-1.0-py3-none-any.whl")
    assert told(looked(metadata, made)) == {("metadata.missing", "medium"), ("metadata.record", "low")}


def changed(content: bytes, path: str, new: bytes | None) -> bytes:
    """The same zip with one member of other bytes, added, or left out."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as archive:
        for entry in old.infolist():
            if entry.filename != path:
                archive.writestr(entry, old.read(entry))
        if new is not None:
            archive.writestr(path, new)
    return packed.getvalue()


RECORDS: list[tuple[str, str, bytes | None, set[tuple[str, str]]]] = [
    ("code that was changed", "thing/__init__.py", b"x = 2\n", {("metadata.record", "high")}),
    ("code that was made longer", "thing/__init__.py", b"x = 1\ny = 2\n", {("metadata.record", "high")}),
    (
        "a text that was made longer",
        f"{INFO}/METADATA",
        says(Summary="More.").encode(),
        {("metadata.record", "medium")},
    ),
    ("code that was added", "thing/more.py", b"", {("metadata.record", "high")}),
    ("a start hook that was added", "thing.pth", b"import thing\n", {("metadata.record", "high")}),
    ("a text that was added", "thing/more.txt", b"", {("metadata.record", "medium")}),
    ("code that is gone", "thing/__init__.py", None, {("metadata.record", "low")}),
]


@pytest.mark.parametrize(
    ("path", "new", "expected"), [row[1:] for row in RECORDS], ids=[row[0] for row in RECORDS]
)
def test_a_wheel_that_is_not_as_it_was_built(
    path: str, new: bytes | None, expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    content = changed(packages.wheel(PLAIN), path, new)
    made = opened(content, tmp_path, "thing-1.0-py3-none-any.whl")
    assert told(looked(metadata, made)) == expected


def linked(folder: Path, target: str) -> ArchivePackage:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("thing-1.0/PKG-INFO")
        info.size = len(says())
        archive.addfile(info, io.BytesIO(says().encode()))
        link = tarfile.TarInfo("thing-1.0/README")
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    return opened(packed.getvalue(), folder, "thing-1.0.tar.gz")


def test_what_is_odd_about_the_archive_is_told_by_how_odd_it_is(tmp_path: Path) -> None:
    assert told(looked(metadata, linked(tmp_path, "PKG-INFO"))) == {("archive.odd", "low")}
    assert told(looked(metadata, linked(tmp_path, "/etc/passwd"))) == {("archive.odd", "high")}
    content = b"#!/bin/sh\n" + packages.wheel(PLAIN)
    made = opened(content, tmp_path, "thing-1.0-py3-none-any.whl")
    assert ("archive.odd", "high") in told(looked(metadata, made))


def test_much_of_one_kind_is_told_in_part(tmp_path: Path) -> None:
    content = packages.wheel({f"thing/{number}.py": "" for number in range(60)})
    record = zipfile.ZipFile(io.BytesIO(content)).read(f"{INFO}/RECORD").splitlines()[-3:]
    made = opened(
        changed(content, f"{INFO}/RECORD", b"\n".join(record)), tmp_path, "thing-1.0-py3-none-any.whl"
    )
    assert len(looked(metadata, made)) == 20


@given(st.text(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_it_says_is_read(filename: str, said: bytes, built: bytes) -> None:
    files = {f"{INFO}/METADATA": said, f"{INFO}/WHEEL": built, "package.json": said, "PKG-INFO": said}
    for kind in Kind:
        for name in (filename, filename + ".whl", filename + ".tar.gz"):
            list(look(packages.package(files, kind, filename=name), None))
