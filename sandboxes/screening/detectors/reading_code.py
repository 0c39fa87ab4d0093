"""Python files of a package, read and parsed once for all detectors, inside limits.

Parsing is what screening costs most. So a file is parsed only when a detector asks for its tree, the files that
run first are asked for first, and `trees` of one package together have a budget. What does not parse (Python 2,
templates, other encodings) is no error: `Source.why_not` says it, and text searches still see it.
"""

import ast
import gc
import io
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final
from weakref import WeakKeyDictionary

from sandboxes.screening.detectors.words import Words
from sandboxes.screening.package import Kind, Package

LARGEST: Final = 1_500_000  # bytes of a file that is looked at; generated tables are longer
MOST_READ: Final = 24_000_000  # bytes of Python of a package that are looked at as text
MOST_PARSED: Final = 2_000_000  # bytes of a package that are parsed
EXCERPT: Final = 300

_TESTS: Final = re.compile(
    r"(?:^|/)(?:tests?|testing|_tests?|test_data|testdata|docs?|examples?|benchmarks?|fixtures|demos?|samples?)/"
    r"|(?:^|/)test_[^/]*\.py$|(?:^|/)[^/]*_test\.py$"
)
# What a wheel puts below the environment itself may lie where Python imports from, too.
_SCHEMES: Final = re.compile(
    r"^[^/]+\.data/(?:purelib/|platlib/|data/(?:(?:.*?/)?(?:site|dist)-packages/|(?:.*?/)?python3[^/]*/|lib/))",
    re.IGNORECASE,
)
# Any of these has to stand in a file whose import could do more than define things. Names that are written apart,
# joined or decoded need one of the last two lines.
_WORDS: Final = """
exec eval subprocess system popen Popen spawn startfile runpy urlopen urlretrieve urllib requests httpx aiohttp socket
http.client httplib ftplib smtplib telnetlib paramiko marshal pickle dill ctypes winreg memfd 64decode 32decode
16decode 85decode fromhex unhexlify decompress load_source load_module FunctionType CodeType rmtree environ write_text
write_bytes pynput keyring browser_cookie3 ImageGrab pyperclip asyncio pexpect xmlrpc pycurl imaplib poplib wget
__import__ import_module builtins globals vars( locals( __dict__ __subclasses__ __loader__ sys.modules attrgetter
methodcaller getattr(
"""
_RISKY: Final = Words((*(each.encode() for each in _WORDS.split()), b"http import", b"import pty", b"open("))
_OPENS: Final = frozenset((b"open(",))
_WRITES: Final = re.compile(rb"open\([^)\n]{1,200}['\"][wax]")


def _is_risky(content: bytes) -> bool:
    words = _RISKY.within(content)
    return bool(words - _OPENS) or (bool(words) and _WRITES.search(content) is not None)


@dataclass(eq=False)
class Source:
    """One Python file."""

    path: str
    content: bytes
    module: str  # dotted name it is imported by
    is_package: bool
    is_test: bool  # stands among tests, documents or examples
    why_not: str = ""  # why it has no tree; empty before it was asked for one
    _text: str | None = None
    _tree: ast.Module | None = None
    _tried: bool = False

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = decoded(self.content)
        return self._text

    @cached_property
    def searched(self) -> bytes:
        """For plain searches. A file may name an encoding in which words look otherwise."""
        return self.text.encode("utf-8", "replace") if b"coding" in self.content[:200] else self.content

    @cached_property
    def risky(self) -> bool:
        """Whether any word stands in it without which it can do nothing."""
        if _is_risky(self.content):
            return True
        # Python reads 𝘦𝘹𝘦𝘤 as exec, and files may say an encoding of their own.
        if self.content.isascii() and b"coding" not in self.content[:200]:
            return False
        return _is_risky(unicodedata.normalize("NFKC", self.text).encode("utf-8", "replace"))

    def excerpt(self, line: int) -> str:
        return excerpt(line_of(self.text, line))


@dataclass(eq=False)
class Sources:
    """All of a package, those that run first first."""

    files: tuple[Source, ...] = ()
    skipped: list[str] = field(default_factory=list)  # paths that were too large, or came after the budget
    parsed: int = 0

    def tree(self, source: Source) -> ast.Module | None:
        """None when it does not parse, or nothing more is parsed; `why_not` says which."""
        if source._tried:  # noqa: SLF001 - two halves of one thing
            return source._tree  # noqa: SLF001
        if self.parsed + len(source.content) > MOST_PARSED:
            source.why_not = "budget"
            if source.path not in self.skipped:
                self.skipped.append(source.path)
            return None
        self.parsed += len(source.content)
        source._tried = True  # noqa: SLF001
        source._tree, source.why_not = parsed(source.text)  # noqa: SLF001
        return source._tree  # noqa: SLF001

    def forget(self, source: Source) -> None:
        """Its tree, which is large; whoever asks again has it parsed again."""
        if source._tree is not None:  # noqa: SLF001
            source._tree, source._tried = None, False  # noqa: SLF001
            self.parsed -= len(source.content)


_KEPT: Final[WeakKeyDictionary[Any, dict[str, Any]]] = WeakKeyDictionary()


def once[Made](package: Package, what: str, make: Callable[[], Made]) -> Made:
    """What several detectors need of one package is made once, and goes with it."""
    try:
        kept = _KEPT.setdefault(package, {})
    except TypeError:  # a package of a kind that cannot be a key
        return make()
    if what not in kept:
        kept[what] = make()
    made: Made = kept[what]
    return made


def sources(package: Package) -> Sources:
    return once(package, "sources", lambda: _sources(package))


def _sources(package: Package) -> Sources:
    found = Sources()
    left = MOST_READ
    members = [each for each in package.members if each.path.endswith((".py", ".pyw"))]
    wanted: dict[int, int] = {}
    for place, member in enumerate(sorted(members, key=lambda each: _order(each.path, package.kind))):
        if member.size > min(LARGEST, left):
            found.skipped.append(member.path)
        else:
            left -= member.size
            wanted[id(member)] = place
    # Read as they lie: what lies behind is reached through all that is before it.
    read = {
        wanted[id(each)]: _source(each.path, each.read(LARGEST), package.kind)
        for each in members
        if id(each) in wanted
    }
    found.files = tuple(read[place] for place in sorted(read))
    return found


def _source(path: str, content: bytes, kind: Kind) -> Source:
    module = module_of(path)
    is_package = path.rsplit("/", 1)[-1].startswith("__init__.")
    return Source(path, content, module, is_package, in_tests(path, kind))


def module_of(path: str) -> str:
    """The dotted name that a file is imported by."""
    dotted = installed(path).rsplit(".", 1)[0].removeprefix("src/").replace("/", ".")
    return dotted.removesuffix(".__init__")


def installed(path: str) -> str:
    """Where a wheel's own folders are put: "x-1.data/purelib/a.py" is "a.py", and so is
    "x-1.data/data/lib/python3.13/site-packages/a.py"."""
    return _SCHEMES.sub("", path)


def in_tests(path: str, kind: Kind | None = None) -> bool:
    """The first part of a path in a wheel is what people import, whatever it is called."""
    if kind is Kind.WHEEL:
        path = installed(path).partition("/")[2]
    return _TESTS.search(path.lower()) is not None


def _order(path: str, kind: Kind) -> tuple[bool, int, bool, str]:
    where = installed(path)
    first = where in ("setup.py", "sitecustomize.py", "usercustomize.py")
    return (
        in_tests(path, kind),
        0 if first else where.count("/") + 1,
        not where.endswith("__init__.py"),
        where,
    )


_READABLE: Final = (
    "utf", "latin", "iso", "ascii", "cp", "koi", "euc", "shift", "gb", "big5", "unicode", "raw", "hz", "mac",
)  # fmt: skip


def decoded(content: bytes) -> str:
    """As Python would read it: its own encoding if it names one that Python has, else UTF-8."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        if encoding.lower().startswith(_READABLE):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes that are none
                return content.decode(encoding)
    except (SyntaxError, ValueError, LookupError):
        pass
    return content.decode("utf-8", "replace")


def parsed(text: str) -> tuple[ast.Module | None, str]:
    """The tree, or a short reason. Python's parser bounds its own depth; what comes after it must bound theirs."""
    if len(text) > LARGEST:
        return None, "too large"
    # A tree is many objects at once and no garbage: collecting meanwhile doubles the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text), ""
    except (SyntaxError, ValueError):
        return None, "no Python 3"
    except (RecursionError, MemoryError):
        return None, "too deep"
    finally:
        if collects:
            gc.enable()


class Part(StrEnum):
    """Of a file of Python."""

    PROSE = "prose"  # comments, and strings that nothing is done with
    FUNCTION = "function"
    OTHER = "other"


_READS_ITSELF: Final = ("__doc__", "getdoc", "getcomments", "getsource", "__file__", "__loader__")


def parts_at(text: str, lines: Iterable[int]) -> set[Part]:
    """Where lines stand, as far as it matters. Prose is none in a file that may read its own."""
    tree, _ = parsed(text)
    return {Part.OTHER if tree is None else _part_at(tree, text, line) for line in lines}


def _part_at(tree: ast.AST, text: str, line: int) -> Part:
    within = list(_around(tree, line))
    if _is_prose(tree, within, text, line) and not any(each in text for each in _READS_ITSELF):
        return Part.PROSE
    return Part.FUNCTION if any(_in_body(each, line) for each in within) else Part.OTHER


def _around(tree: ast.AST, line: int) -> Iterator[ast.stmt]:
    """Statements that the line is part of, from the outermost."""
    # No recursion: each `elif` stands inside the one before it, and there may be thousands.
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.stmt):
            if not node.lineno <= line <= (node.end_lineno or 0):
                continue
            yield node
        elif node is not tree and not isinstance(node, ast.ExceptHandler | ast.match_case):
            continue
        left += reversed(list(ast.iter_child_nodes(node)))


def _in_body(node: ast.stmt, line: int) -> bool:
    """Not in a function's head: its defaults are worked out at once."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, functions) and line > node.lineno and line >= node.body[0].lineno


def _is_prose(tree: ast.AST, within: list[ast.stmt], text: str, line: int) -> bool:
    if line_of(text, line).lstrip().startswith("#"):
        strings = (each for each in ast.walk(tree) if isinstance(each, ast.Constant | ast.JoinedStr))
        return not any(each.lineno <= line <= (each.end_lineno or 0) for each in strings)
    return any(
        isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and _alone(text, each, line)
        for each in within
    )


def _alone(text: str, node: ast.stmt, line: int) -> bool:
    """Nothing else is on this line of a string: not before its start, and not after its end."""
    content = line_of(text, line).encode()
    before = content[: node.col_offset].strip() if line == node.lineno else b""
    after = content[node.end_col_offset or 0 :].strip() if line == node.end_lineno else b""
    return not before and not after


def line_of(text: str, number: int) -> str:
    if number < 1:
        return ""
    for count, line in enumerate(io.StringIO(text), start=1):
        if count == number:
            return line
    return ""


def line_at(text: str, place: int) -> int:
    """The number of the line that a place in the text is on."""
    return text.count("\n", 0, place) + 1


def excerpt(text: str, around: int = 0) -> str:
    """No more than `EXCERPT` characters, those from `around` on if there are more."""
    text = text.strip("\r\n")
    if len(text.strip()) <= EXCERPT:
        return text.strip()
    start = max(0, min(around - 60, len(text) - EXCERPT))
    return text[start : start + EXCERPT].strip()
