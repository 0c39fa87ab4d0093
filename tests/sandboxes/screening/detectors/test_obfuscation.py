"""Code that is made not to be read."""

import pytest

from sandboxes.screening.detectors import obfuscation
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
