"""The re-creations of attacks are inert: marked, leading nowhere, harmless at the bottom, and nothing can run them."""

import ast
import base64
import codecs
import marshal
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import CodeType

import pytest

from bench.screening import attacks
from bench.screening.attacks import hidden
from bench.screening.attacks.attack import INERT, MARKER, Attack
from bench.screening.attacks.building import build

_FOLDER = Path(attacks.__file__).parent
_HIDING = [
    attack for attack in hidden.ATTACKS if attack.name != "unicode-identifiers"
]  # which hides names alone


def _name(attack: Attack) -> str:
    return attack.name


@pytest.mark.parametrize("attack", attacks.ALL, ids=_name)
def test_a_sample_is_marked_and_leads_nowhere(attack: Attack, tmp_path: Path) -> None:
    for path in _archives(attack, tmp_path):
        for name, data in _members(path):
            assert MARKER.encode() in data or name.endswith("/RECORD"), name
            for said in _readings(name, data):
                assert not (led := list(_leading(said))), f"{name}: {led}"


@pytest.mark.parametrize("attack", _HIDING, ids=_name)
def test_at_the_bottom_of_what_is_hidden_is_a_harmless_line(attack: Attack, tmp_path: Path) -> None:
    [path] = _archives(attack, tmp_path)
    found = {said.strip() for name, data in _members(path) for said in _readings(name, data)}
    assert any(INERT in said and len(said) < 200 for said in found)


def test_what_leads_somewhere_is_seen() -> None:
    places = ["https://a.example.com/x", "http://10.0.0.1/", "curl evil.org", "192.0.2.1.example.net"]
    assert all(list(_leading(place)) for place in places)
    nowhere = ["https://a.example.invalid/x", "http://192.0.2.9/", "discord.com.example.invalid", "1.82.7"]
    assert not any(list(_leading(place)) for place in nowhere)
    packed = base64.b64encode(zlib.compress(b"http://10.0.0.1/")).decode()
    code = f'exec(b64decode("{packed[::-1]}"[::-1]))'.encode()
    assert any(list(_leading(said)) for said in _readings("a.py", code))


def test_the_tables_only_say_and_the_builder_only_packs() -> None:
    """Nothing here can run a sample: no way to is imported or named."""
    allowed = {"base64", "codecs", "collections", "dataclasses", "gzip", "hashlib", "importlib", "io", "json"}
    allowed |= {"marshal", "msgspec", "pathlib", "struct", "tarfile", "typing", "warnings", "zipfile", "zlib"}
    allowed |= {"bench", "sandboxes"}
    for path in _FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom):
                module = str(node.module)
                assert module.split(".")[0] in allowed, path
                if module.startswith(("bench", "sandboxes")):
                    assert module.startswith(("bench.screening.attacks", "sandboxes.screening.package")), path
            elif isinstance(node, ast.Name | ast.Attribute):
                used = node.id if isinstance(node, ast.Name) else node.attr
                assert used not in {"exec", "eval", "__import__", "import_module", "extractall", "extract"}, (
                    path
                )


def _archives(attack: Attack, folder: Path) -> list[Path]:
    file = build(attack, folder)
    return [file.path, *([file.former] if file.former else [])]


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """And what stands before an archive."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                yield info.filename, archive.read(info)
            if front := path.read_bytes()[: min(info.header_offset for info in archive.infolist())]:
                yield "front", front
        return
    with tarfile.open(path) as packed:
        for entry in packed:
            file = packed.extractfile(entry)
            assert file is not None
            yield entry.name, file.read()


def _readings(name: str, data: bytes) -> Iterator[str]:
    """A member as it stands, and everything that can be decoded from its strings, however deep."""
    text = data.decode("utf-8", "replace")
    yield text
    if name.endswith(".pyc"):
        yield from _constants(data[16:])
    if name.endswith(".png"):
        yield data[data.index(b"IEND") + 8 :].decode()
    for said in _strings(name, text):
        for decoded in _decoded(said):
            yield from _readings("inside.py", decoded)


def _strings(name: str, text: str) -> Iterator[str]:
    if not name.endswith((".py", ".pth")):
        yield from (either[0] or either[1] for either in re.findall(r"\"([^\"\n]+)\"|'([^'\n]+)'", text))
        return
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.List) and len(node.elts) > 3:
            numbers = [each.value for each in node.elts if isinstance(each, ast.Constant)]
            if all(isinstance(number, int) for number in numbers):
                yield repr("".join(chr(int(str(number))) for number in numbers))


def _decoded(said: str) -> Iterator[bytes]:
    """By each way that the samples know."""
    if len(said) < 12 or not said.isascii():
        return
    if said.startswith(("'", '"')):
        yield said.encode()
        return
    turned = codecs.encode(said, "rot13")
    if INERT in turned or "http" in turned:
        yield turned.encode()
    for text in (said, said[::-1]):
        for way in _WAYS:
            with suppress(ValueError):
                yield from _unpacked(way(text))


_WAYS: tuple[Callable[[str], bytes], ...] = (partial(base64.b64decode, validate=True), bytes.fromhex)


def _unpacked(data: bytes) -> Iterator[bytes]:
    yield data
    with suppress(zlib.error):
        yield zlib.decompress(data)
    yield "\n".join(_constants(data)).encode()


def _constants(data: bytes) -> Iterator[str]:
    """Of marshalled code, which is read and not run; where it calls `print` with "inert", that line."""
    if data[:1] in _CODE and data[1:9] == bytes(8):
        yield from _words(marshal.loads(data))  # noqa: S302 -- ours, and it begins as code without arguments does


def _words(code: object) -> Iterator[str]:
    if not isinstance(code, CodeType):
        return
    words = [each for each in code.co_consts if isinstance(each, str)]
    yield from words
    if "print" in code.co_names and "inert" in words:
        yield INERT
    for each in code.co_consts:
        yield from _words(each)


_CODE = (b"c", b"\xe3")
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
# The path of a service account's token is none.
_DOMAIN = re.compile(
    r"(?<![\w-])(?<!/secrets/)[\w-]+\.(?:app|co|com|dev|info|io|me|net|org|ru|xyz)\b(?:\.[\w-]+)*"
)
_URL = re.compile(r"(?:https?|ftp|ssh|tcp|wss?)://([^/\s:\"'`)>]+)")


def _leading(text: str) -> Iterator[str]:
    """Hosts and addresses that could be somewhere."""
    for host in (*_URL.findall(text), *_DOMAIN.findall(text)):
        if not (host.endswith("example.invalid") or _is_for_tests(host)):
            yield host
    for match in _ADDRESS.finditer(text):
        if not (_is_for_tests(match[0]) or text[match.end() :].startswith(".example.invalid")):
            yield match[0]


def _is_for_tests(address: str) -> bool:
    return re.fullmatch(r"192\.0\.2\.\d{1,3}", address) is not None
