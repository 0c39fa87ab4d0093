"""What is known of a value without running anything: its name, what it is made of, where it comes from.

Constants are folded as Python would fold them, inside narrow limits: joined, reversed, decoded, unpacked strings
are how names and code are hidden, and none of that needs the code to run.
"""

import base64
import binascii
import bz2
import codecs
import lzma
import operator
import zlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

LONGEST: Final = 2_000_000  # characters or bytes of a folded constant
_ITEMS: Final = 200_000  # of a folded list


class Origin(StrEnum):
    """Where a value comes from, as far as it matters."""

    DECODED = "decoded"  # unpacked, decoded, put together from characters
    DOWNLOADED = "downloaded"
    ENVIRONMENT = "environment"  # all of it
    VARIABLE = "variable"  # of the environment, by the name of a secret
    CREDENTIALS = "credentials"  # a file that has some
    HOST = "host"  # who and where this is: user, host name, addresses
    FILE = "file"
    SPELLED = "spelled"  # a name that was put together


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()
NOWHERE: Final[frozenset[Origin]] = frozenset()


class Value(NamedTuple):
    """`name`: its dotted name from where it was imported ("os.system"), with () for what a call returned."""

    name: str = ""
    const: Any = UNKNOWN
    origins: frozenset[Origin] = NOWHERE
    code: Any = None  # the function, lambda or class of the same file that it is
    owner: Any = None  # of a method or instance: the class
    within: Any = None  # the scope that a function was defined in
    read_from: str = ""  # the file whose content it is, as far as its path is known

    def known(self) -> bool:
        return self.const is not UNKNOWN


NOTHING: Final = Value()
_FOLDABLE: Final = (str, bytes, int, bool, float, list, tuple, type(None))


def named(name: str, origins: frozenset[Origin] = NOWHERE) -> Value:
    """As `Value(name=…, origins=…)`, in a third of the time; these three are made for every expression."""
    return tuple.__new__(Value, (name, UNKNOWN, origins, None, None, None, ""))


def just(content: Any) -> Value:
    return tuple.__new__(Value, ("", content, NOWHERE, None, None, None, ""))


def coming(origins: frozenset[Origin]) -> Value:
    return tuple.__new__(Value, ("", UNKNOWN, origins, None, None, None, "")) if origins else NOTHING


def constant(content: Any, origins: frozenset[Origin] = NOWHERE) -> Value:
    if not isinstance(content, _FOLDABLE) or _too_long(content):
        return coming(origins)
    return tuple.__new__(Value, ("", content, origins, None, None, None, ""))


def _too_long(content: Any) -> bool:
    if isinstance(content, str | bytes):
        return len(content) > LONGEST
    if isinstance(content, list | tuple):
        return len(content) > _ITEMS
    return isinstance(content, int) and content.bit_length() > 4096


def binary(operation: type, left: Any, right: Any) -> Any:
    """Of two constants; UNKNOWN where it is not folded."""
    folds = _BINARY.get(operation.__name__)
    if folds is None or _grows_too_long(operation.__name__, left, right):
        return UNKNOWN
    try:
        return folds(left, right)
    except Exception:  # noqa: BLE001 - whatever Python raises on these operands, it is no constant
        return UNKNOWN


_BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "BitXor": operator.xor,
    "BitAnd": operator.and_,
    "BitOr": operator.or_,
    "RShift": operator.rshift,
}


def _grows_too_long(operation: str, left: Any, right: Any) -> bool:
    if operation == "Mult":
        longer = max((len(each) for each in (left, right) if isinstance(each, Sequence)), default=0)
        times = max((abs(each) for each in (left, right) if isinstance(each, int)), default=1)
        return longer * times > LONGEST or (not longer and times.bit_length() > 1024)
    if operation == "Mod" and isinstance(left, str | bytes):
        # "%1000000000d" % 1 is a gigabyte; a list inside lists prints exponentially.
        digits = b"0123456789*" if isinstance(left, bytes) else "0123456789*"
        return any(each in left for each in _each(digits)) or not _short(right)
    return False


def _each(content: Any) -> list[Any]:
    return [content[place : place + 1] for place in range(len(content))]


def _short(content: Any) -> bool:
    """Nothing nested, and no more than a constant may have in all."""
    listed = content if isinstance(content, list | tuple) else [content]
    total = 0
    for each in listed:
        if isinstance(each, list | tuple):
            return False
        total += len(each) if isinstance(each, str | bytes) else 1
    return total <= LONGEST


def indexed(content: Any, index: Any) -> Any:
    try:
        return content[index]
    except Exception:  # noqa: BLE001 - no such item
        return UNKNOWN


def method(content: Any, name: str, arguments: Sequence[Any]) -> Any:
    """`content.name(*arguments)` where that is harmless and short."""
    allowed = _METHODS.get(type(content))
    if allowed is None or name not in allowed:
        return UNKNOWN
    try:
        if name == "join":
            arguments = [list(arguments[0])]
            if not _short(arguments[0]) or len(content) * len(arguments[0]) > LONGEST:
                return UNKNOWN
        if name == "replace" and len(content) * (len(arguments[1]) + 1) > LONGEST:
            return UNKNOWN
        if name in ("decode", "encode"):
            return _codec(content, *arguments) if name == "decode" else content.encode("utf-8")
        return getattr(content, name)(*arguments)
    except Exception:  # noqa: BLE001 - wrong arguments
        return UNKNOWN


_TEXT: Final = {
    "join",
    "replace",
    "lower",
    "upper",
    "strip",
    "lstrip",
    "rstrip",
    "split",
    "swapcase",
    "title",
}
_METHODS: Final[dict[type, set[str]]] = {
    str: {*_TEXT, "encode", "removeprefix", "removesuffix"},
    bytes: {*_TEXT, "decode", "hex"},
}
# Text, and what Python calls codecs and are none. Others are slow on long input.
_CODECS: Final = {
    "utf8",
    "ascii",
    "latin1",
    "iso88591",
    "unicodeescape",
    "rawunicodeescape",
    "utf16",
    "utf16le",
}
_PACKED: Final = {"hex", "hexcodec", "base64", "base64codec", "rot13", "uu"}


def _inflate(content: bytes, *rest: Any) -> bytes:
    wbits = rest[0] if rest and isinstance(rest[0], int) else zlib.MAX_WBITS
    return zlib.decompressobj(wbits).decompress(content, LONGEST)


def _gunzip(content: bytes) -> bytes:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, LONGEST)


def _bunzip(content: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(content, LONGEST)


def _unlzma(content: bytes, *_rest: Any) -> bytes:
    return lzma.LZMADecompressor(memlimit=64 << 20).decompress(content, LONGEST)


def _codec(content: Any, name: str = "utf-8", *_rest: Any) -> Any:
    plain = name.lower().replace("_", "").replace("-", "")
    if plain in ("zlib", "zip", "zlibcodec"):
        return _inflate(content)
    if plain in ("bz2", "bz2codec"):
        return _bunzip(content)
    return codecs.decode(content, name) if plain in _CODECS | _PACKED else UNKNOWN


def _integer(content: Any, base: int = 10) -> int:
    return int(content, base) if isinstance(content, str) else int(content)


def _bytes_of(content: Any, *encoding: Any) -> Any:
    return bytes(content, *encoding) if not isinstance(content, int) else UNKNOWN


def _text_of(content: Any, *encoding: Any) -> Any:
    if isinstance(content, bytes) and encoding:
        return str(content, *encoding)
    return content if isinstance(content, str) else str(content) if isinstance(content, int) else UNKNOWN


def _counted(*arguments: int) -> Any:
    numbers = range(*arguments)
    return list(numbers) if len(numbers) <= _ITEMS else UNKNOWN


# Functions that decode: what they return is something that was hidden.
_DECODERS: Final[dict[str, Callable[..., Any]]] = {
    "base64.b64decode": base64.b64decode,
    "base64.standard_b64decode": base64.standard_b64decode,
    "base64.urlsafe_b64decode": base64.urlsafe_b64decode,
    "base64.decodebytes": base64.decodebytes,
    "base64.b32decode": base64.b32decode,
    "base64.b16decode": base64.b16decode,
    "base64.b85decode": base64.b85decode,
    "base64.a85decode": base64.a85decode,
    "binascii.unhexlify": binascii.unhexlify,
    "binascii.a2b_hex": binascii.a2b_hex,
    "binascii.a2b_base64": binascii.a2b_base64,
    "bytes.fromhex": bytes.fromhex,
    "bytearray.fromhex": bytes.fromhex,
    "codecs.decode": _codec,
    "zlib.decompress": _inflate,
    "gzip.decompress": _gunzip,
    "bz2.decompress": _bunzip,
    "lzma.decompress": _unlzma,
    "chr": chr,
    "reversed": lambda content: list(reversed(content)),
}
# Further ones, whose result is not folded.
_SEALED: Final = {
    "cryptography.fernet.Fernet().decrypt",
    "cryptography.hazmat.primitives.ciphers.Cipher().decryptor().update",
    "Crypto.Cipher.AES.new().decrypt",
    "Cryptodome.Cipher.AES.new().decrypt",
    "base64.decodestring",
    "base64.decode",
    "zlib.decompressobj().decompress",
    "lzma.LZMADecompressor().decompress",
    "bz2.BZ2Decompressor().decompress",
}
_PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "ord": ord,
    "str": _text_of,
    "bytes": _bytes_of,
    "bytearray": _bytes_of,
    "int": _integer,
    "len": len,
    "list": lambda content=(): list(content),
    "tuple": lambda content=(): list(content),
    "range": _counted,
    "hex": hex,
}


def decodes(name: str) -> bool:
    return name in _DECODERS or name in _SEALED


def called(name: str, arguments: Sequence[Any]) -> Any:
    """What a function of the standard library returns for these constants; UNKNOWN where it is not folded."""
    function = _DECODERS.get(name) or _PLAIN.get(name)
    if function is None:
        return UNKNOWN
    try:
        return function(*arguments)
    except Exception:  # noqa: BLE001 - hostile input
        return UNKNOWN


def texts(content: Any, most: int = 50) -> list[str]:
    """The strings inside a constant, flat."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, bytes):
        return [content.decode("utf-8", "replace")]
    if isinstance(content, list | tuple):
        return [
            text for each in content[:most] for text in texts(each, most) if isinstance(each, str | bytes)
        ]
    return []
