"""Code that stands where a scanner's limits end, or where it thinks that nobody looks.

The first four are one harmless line behind what is long, deep or large; the others stand in places that Python reads
and people do not.
"""

import base64
import importlib.util
import marshal
from typing import Final

from bench.screening.attacks.attack import INERT, MARKER, Attack, Release
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

_IMPORTS = "import base64\n"
PAYLOAD = f'e = exec; d = base64.b64decode; k = "{base64.b64encode(INERT.encode()).decode()}"; e(d(k))\n'

_CHAIN = (
    f"{_IMPORTS}def f0(): {PAYLOAD}" + "".join(f"def f{n}(): f{n - 1}()\n" for n in range(1, 14)) + "f13()\n"
)
_ELIFS = f"{_IMPORTS}if 0: pass\n" + "elif 0: pass\n" * 70 + f"else:\n  {PAYLOAD}"
_LINES = _IMPORTS + "x = 1\n" * 70_000 + PAYLOAD
_LARGE = _IMPORTS + "#" * 1_600_000 + "\n" + PAYLOAD
_ESCAPED = (
    f"# coding: unicode_escape {MARKER}\n# notes \\x0a"
    + "".join(f"\\x{ord(letter):02x}" for letter in INERT)
    + "\\x0a\nx = 1\n"
)
_READER = f"""{COMMENT}import os

with open(os.path.join(os.path.dirname(__file__), "words.dat")) as _words:
    exec(_words.read())
"""


def _trusted() -> bytes:
    """Compiled, and marked so that its source is never compared with it (PEP 552)."""
    code = compile(f"'{MARKER}'\n{INERT}", "text.py", "exec")
    return importlib.util.MAGIC_NUMBER + b"\1" + bytes(11) + marshal.dumps(code)


def _attack(name: str, recreates: str, files: dict[str, str | bytes]) -> Attack:
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.WHEEL,
        project=f"{name}-kit",
        release=Release("0.1.2", files),
        expects=frozenset({"import-time", "obfuscation"}),
    )


def _beyond(name: str, what: str, code: str) -> Attack:
    return _attack(name, f"evasions of this scanner's own limits (2026): {what}", library("text_kit", code))


ATTACKS: Final[tuple[Attack, ...]] = (
    _beyond("behind-calls", "the last of 14 functions that call each other", _CHAIN),
    _beyond("behind-elifs", "behind 70 conditions", _ELIFS),
    _beyond("behind-lines", "behind 70,000 lines", _LINES),
    _beyond("behind-comment", "behind a comment of 1.6 MB", _LARGE),
    _attack(
        "prefix-folder",
        "evasions collected in 2026: a package among a wheel's data, which is put where Python imports from",
        {
            f"prefix_folder_kit-0.1.2.data/data/lib/python3.13/site-packages/{path}": content
            for path, content in library("text_kit", _IMPORTS + PAYLOAD).items()
        },
    ),
    _attack("demo-package", "evasions collected in 2026: the package is named as if it were no part of one",
            library("demo", _IMPORTS + PAYLOAD)),
    _attack("escaped-source", "evasions collected in 2026: a comment in an encoding that ends it",
            {**library("text_kit"), "text_kit/notes.py": _ESCAPED}),
    _attack("trusted-bytecode", "evasions collected in 2026: compiled code that its source is not compared with",
            {**library("text_kit"), "text_kit/__pycache__/text.cpython-313.pyc": _trusted()}),
    _attack("code-in-data", "evasions collected in 2026: code in a file of data",
            {**library("text_kit"), "text_kit/run.py": _READER, "text_kit/words.dat": f"{COMMENT}{INERT}\n"}),
)  # fmt: skip
