"""Code that is made not to be read.

Names of one kind only (`IlIlIl`), letters that look like others, code pushed out of sight to the right, long
escapes of what could be written plainly, marks of obfuscators, compiled modules without their source, and encoded
blobs in files that run what they decode. `import_time` follows what is decoded; this sees what it cannot follow.
Would have caught: "colourful"-like W4SP copies (code 200 columns to the right), "pyobfgood"/BlazeStealer, fshec2
(`full.pyc` without source), "Vare" and Hyperion-packed stealers, GlassWorm's invisible characters.
Costs: text searches only, about a millisecond for a median wheel.
"""

import codecs
import re
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Final

from sandboxes.screening.detectors.judging import gravest
from sandboxes.screening.detectors.reading_code import Source, excerpt, in_tests, installed, line_at, sources
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Package

_FAR: Final = re.compile(r"[ \t]{150,}(?=[;\w(_])([^\n]{0,2000})")
_CODE: Final = re.compile(
    r"\b(?:exec|eval|__import__|import|compile|require|getattr|lambda|child_process)\b|\(.*\)\s*;"
)
_KNOWN: Final = re.compile(
    r"\bpyarmor_runtime\b|\b__pyarmor__\b|\bPyarmor \d|#\s*obfuscated (?:by|with|using)\b|\bHyperion\b.{0,40}obfus"
    r"|\bBlankOBF\b|\bpy-?fuscate\b|\bpyobfuscate\b|\bw4sp\b|\bKramer\b.{0,40}obfus|\bSpecter\b.{0,40}obfus"
    r"|\bIntensio\b.{0,20}obfus|development-tools\.net/python-obfuscator|\bOpy\b.{0,20}obfuscator",
    re.IGNORECASE,
)
# Nearly no file gets past these.
_MARKS: Final = Words((b"pyarmor", b"obfus", b"fuscate", b"w4sp", b"blankobf"), any_case=True)
_HINTS: Final = Words(
    (b"marshal", b"pickle", b"FunctionType", b"_____", b"_0x"),
    patterns={
        "runs": r"(exec|eval)\s*\(",
        "kind": r"[IlO_][IlO01_]{7}",
        "hex": r"(\\x[2-7][0-9a-fA-F]){8}",
        "octal": r"(\\1[0-7]{2}|\\[4-7][0-7]){8}",
        # In UTF-8: what is not shown, and what turns a line round.
        "invisible": r"(\xef\xb8[\x80-\x8f]|\xe2\x80[\x8b-\x8d]|\xe2\x81\xa0|\xe3\x85\xa4|\xef\xbe\xa0"
        r"|\xf3\xa0[\x84-\x87][\x80-\xbf]){4}",
        "turning": r"\xe2(\x80[\xaa-\xae]|\x81[\xa6-\xa9])",
        "unicode": r"(\\u00[2-7][0-9a-fA-F]){8}",
    },
)
_RUN_HINTS: Final = frozenset((b"runs", b"marshal", b"pickle", b"FunctionType"))
_ESCAPE_HINTS: Final = frozenset((b"hex", b"octal", b"unicode"))
_ONE_KIND: Final = re.compile(r"\b(?=[IlO01_]*[IlO])[IlO_][IlO01_]{7,}\b")
_UNDERSCORES: Final = re.compile(r"(?<![^\s(,=\[;:])_{5,}(?=\s*[=(\[,.)])")
_HEX_NAMES: Final = re.compile(r"\b_?_0x[0-9a-f]{4,6}\b")
_ESCAPES: Final = re.compile(
    r"(?:\\x[2-7][0-9a-fA-F]){40,}|(?:\\1[0-7]{2}|\\[4-7][0-7]){40,}|(?:\\u00[2-7][0-9a-fA-F]){30,}"
)
_INVISIBLE: Final = re.compile(r"[\ufe00-\ufe0f\U000e0100-\U000e01ef\u200b-\u200d\u2060\u3164\uffa0]{20,}")
_BIDI: Final = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_BLOB: Final = re.compile(r"""(?:['"]|\\\n)((?:[A-Za-z0-9+/_=-]|\\\n){1000,})['"]""")
_HEX_BLOB: Final = re.compile(r"""['"]([0-9a-fA-F]{1000,}|(?:\\x[0-9a-fA-F]{2}){300,})['"]""")
_CALLS: Final = re.compile(r"e(?:xec|val)\s*\(")
_LOADS: Final = re.compile(r"\bmarshal\.loads\b|\bpickle\.loads\b|\bFunctionType\b")
_DECODES: Final = re.compile(
    r"b(?:16|32|64|85)decode|fromhex|unhexlify|decompress|\bdecrypt\(|a85decode|rot.?13"
)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_FOREIGN: Final = re.compile(r"[^\W\x00-\x7f]+")
_REST: Final = re.compile(r"\w*")
# PEP 263, as Python reads it.
_COOKIE: Final = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)
_FIRST: Final = 10_000  # bytes in which the first two lines are looked for
# What stands for something else in one encoding or another.
_LETTERS: Final = bytes(range(32, 127)) + rb"\x41 \u0041 \101 +AGEAYg- =41 &#65; ~{!!~} %41" + b"\t\n"
_LONG: Final = 5000  # characters of a line
_ALIKE: Final = frozenset("аеорсухіјѕһԁԛԝгԍӏοναρικτ")  # Cyrillic and Greek letters that look Latin


def look(package: Package, former: Package | None) -> Iterator[Found]:
    found = [each for source in sources(package).files for each in _of_source(source)]
    yield from gravest([*found, *_compiled(package)])


def _of_source(source: Source) -> Iterator[Found]:
    content = source.searched
    text = source.text
    yield from _encoding(source)
    hints = _HINTS.within(content)
    if b"  " * 75 in content or b"\t" * 40 in content:
        yield from _far_right(source, text)
    if _MARKS.within(content):
        match = _KNOWN.search(text)
        if match is not None:
            yield _found(source, "known-tool", Threat.HIGH, "It has the mark of an obfuscator", match.start())
    yield from _names(source, text, hints)
    if hints & _ESCAPE_HINTS:
        yield from _escapes(source, text)
    if hints & _RUN_HINTS:
        yield from _blobs(source, text)
    if not content.isascii():
        yield from _characters(source, text, hints)


def _found(source: Source, rule: str, threat: Threat, why: str, place: int) -> Found:
    start = text_start = source.text.rfind("\n", 0, place) + 1
    end = source.text.find("\n", place)
    line = source.text[text_start : end if end >= 0 else None]
    return Found(
        rule=f"obfuscation.{rule}",
        ability=Ability.EXECUTE,
        threat=Threat.LOW if source.is_test and threat is not Threat.CRITICAL else threat,
        why=f"{why}.",
        path=source.path,
        line=line_at(source.text, place),
        excerpt=excerpt(line, place - start),
    )


def _encoding(source: Source) -> Iterator[Found]:
    """In most encodings plain letters are plain letters; in some, what stands in a comment is a line of code."""
    lines = source.content[:_FIRST].splitlines()[:2]
    if lines and lines[0].split(b"#")[0].strip():
        return  # after code, a comment is one
    match = next(filter(None, map(_COOKIE.match, lines)), None)
    if match is None or _keeps_letters(match[1].decode()):
        return
    known = _is_codec(match[1].decode())
    yield Found(
        rule="obfuscation.encoding",
        ability=Ability.EXECUTE,
        threat=(Threat.MEDIUM if source.is_test else Threat.CRITICAL) if known else Threat.LOW,
        why="Python reads it in an encoding in which the text means something else than it shows."
        if known
        else "It names an encoding that Python has not: only what brings one can read it.",
        path=source.path,
        line=1,
        excerpt=excerpt(match[0].decode("ascii", "replace")),
    )


def _keeps_letters(encoding: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none
            return _LETTERS.decode(encoding) == _LETTERS.decode("ascii")
    except (LookupError, ValueError):
        return False


def _is_codec(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except (LookupError, ValueError):
        return False
    return True


def _far_right(source: Source, text: str) -> Iterator[Found]:
    for match in _FAR.finditer(text):
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        # A comment's or a table's columns are no code.
        if "#" not in before and _CODE.search(match[1]):
            yield _found(
                source, "far-right", Threat.HIGH, "Code stands far to the right, out of sight", match.end()
            )
            return


def _names(source: Source, text: str, hints: frozenset[bytes]) -> Iterator[Found]:
    names = {match[0] for match in _ONE_KIND.finditer(text)} if b"kind" in hints else set()
    confusing = {each for each in names if len(set(each) - {"_"}) > 1}
    bars = set(_UNDERSCORES.findall(text)) if b"_____" in hints else set()
    hexes = set(_HEX_NAMES.findall(text)) if b"_0x" in hints else set()
    for found, least, what in (
        (confusing, 6, "I, l, O and 0"),
        (bars, 6, "underscores"),
        (hexes, 12, "numbers"),
    ):
        if len(found) >= least:
            place = text.find(min(found))
            yield _found(source, "names", Threat.HIGH, f"Names are made of {what} only", place)


def _escapes(source: Source, text: str) -> Iterator[Found]:
    match = _ESCAPES.search(text)
    pieces = match[0].split("\\")[1:] if match is not None else []
    # A table of all characters is in order; text is not.
    if match is not None and pieces != sorted(pieces):
        threat = Threat.HIGH if _runs(text) else Threat.LOW
        yield _found(source, "escapes", threat, "Plain text is written as escapes", match.start())


def _runs(text: str) -> bool:
    """Whether it runs or loads code by a name of its own, no method of something else."""
    for match in _CALLS.finditer(text):
        before = text[max(match.start() - 1, 0) : match.start()]
        if not (before.isalnum() or before in ("_", ".")):
            return True
    may_load = "marshal.loads" in text or "pickle.loads" in text or "FunctionType" in text
    return may_load and _LOADS.search(text) is not None


def _blobs(source: Source, text: str) -> Iterator[Found]:
    if not _runs(text):
        return
    match = _HEX_BLOB.search(text) or _BLOB.search(text)
    if match is None or len(set(match[1])) < 12:  # a line of one letter is a line
        long = max(map(len, text.splitlines()), default=0) if len(text) > _LONG else 0
        if long > _LONG and _DECODES.search(text):
            place = next(m.start() for m in re.finditer(r"[^\n]{5000,}", text))
            yield _found(
                source, "long-line", Threat.LOW, "A very long line stands in code that decodes", place
            )
        return
    threat = Threat.MEDIUM if _DECODES.search(text) else Threat.LOW
    yield _found(
        source, "blob-and-exec", threat, "It has a long encoded text, decodes, and runs code", match.start()
    )


def _characters(source: Source, text: str, hints: frozenset[bytes]) -> Iterator[Found]:
    match = _INVISIBLE.search(text) if b"invisible" in hints else None
    if match is not None:
        threat = Threat.CRITICAL if _runs(text) else Threat.HIGH
        yield _found(source, "invisible", threat, "Many invisible characters stand in it", match.start())
    match = _BIDI.search(text) if b"turning" in hints else None
    if match is not None:
        yield _found(
            source, "direction", Threat.LOW, "Characters turn the direction of the text", match.start()
        )
    yield from _confusable(source, text)


def _confusable(source: Source, text: str) -> Iterator[Found]:
    plain_ones: set[str] = set()  # the same words come again and again
    for start, end in _foreign_words(text):
        word = text[start:end]
        if word in plain_ones:
            continue
        plain = unicodedata.normalize("NFKC", word)
        if plain.isascii() and plain in _POWERFUL:
            why = f"Python reads this as {plain}; it is written in other letters"
            yield _found(source, "confusable", Threat.CRITICAL, why, start)
            return
        if not _mixed(word):
            plain_ones.add(word)
        elif _is_identifier(text, end):
            why = "A name mixes letters of different scripts that look the same"
            yield _found(source, "confusable", Threat.MEDIUM, why, start)
            return


def _foreign_words(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each word that is not ASCII alone. Most text is, and is passed over."""
    end = 0
    for match in _FOREIGN.finditer(text):
        if match.start() < end:
            continue
        start = match.start()
        while start > end and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        found = _WORD.search(text, start, _end_of_word(text, match.end()))
        end = match.end() if found is None else found.end()
        if found is not None and not found[0].isascii():
            yield found.span()


def _end_of_word(text: str, place: int) -> int:
    found = _REST.match(text, place)
    return found.end() if found is not None else place


_HEAD: Final = 16  # bytes of compiled Python before the code: a number, flags (PEP 552), and a time or hash
_POWERFUL_NAMES: Final = """
exec eval compile open getattr globals os system subprocess Popen run call urlopen requests socket base64 __import__
__builtins__ import_module popen marshal loads builtins b64decode decode environ
"""
_POWERFUL: Final = frozenset(_POWERFUL_NAMES.split())


def _mixed(word: str) -> bool:
    latin = any(each.isascii() and each.isalpha() for each in word)
    return latin and all(each.isascii() or each in _ALIKE for each in word)


def _is_identifier(text: str, end: int) -> bool:
    """Called or assigned to: no word of a sentence."""
    return re.match(r"\s*(?:\(|=[^=]|\.\w)", text[end : end + 10]) is not None


def _compiled(package: Package) -> Iterator[Found]:
    """Compiled Python has to have its source beside it: else nobody can read what runs. And if it says that it is
    not to be compared with that source by its time, whatever is in it runs in place of the source."""
    if package.kind is Kind.NPM:
        return
    paths = {installed(each.path) for each in package.members}
    for member in package.members:
        if not member.path.endswith((".pyc", ".pyo")):
            continue
        folder, _, name = installed(member.path).rpartition("/")
        stem = name.split(".")[0]
        beside = folder.removesuffix("__pycache__").rstrip("/")
        source = f"{beside}/{stem}.py" if beside else f"{stem}.py"
        if source not in paths:
            yield Found(
                rule="obfuscation.compiled-only",
                ability=Ability.EXECUTE,
                threat=Threat.LOW if in_tests(member.path, package.kind) else Threat.HIGH,
                why="Compiled Python stands there without its source.",
                path=member.path,
            )
        elif folder.endswith("__pycache__") and member.read(_HEAD)[4:5] in (b"\1", b"\3"):
            yield Found(
                rule="obfuscation.compiled-trusted",
                ability=Ability.EXECUTE,
                threat=Threat.HIGH,
                why="Compiled Python is there that runs in place of its source, whatever that says.",
                path=member.path,
            )
        elif folder.endswith("__pycache__") and package.kind is Kind.WHEEL:
            yield Found(
                rule="obfuscation.compiled-beside",
                ability=Ability.EXECUTE,
                threat=Threat.MEDIUM,
                why="Compiled Python stands beside its source, and nobody knows that it is the same.",
                path=member.path,
            )
