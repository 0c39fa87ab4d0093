"""Code that is made not to be read.

Names of one kind only (`IlIlIl`), letters that look like others, code pushed out of sight to the right, long
escapes of what could be written plainly, marks of obfuscators, compiled modules without their source, and encoded
blobs in files that run what they decode. `import_time` follows what is decoded; this sees what it cannot follow.
Would have caught: "colourful"-like W4SP copies (code 200 columns to the right), "pyobfgood"/BlazeStealer, fshec2
(`full.pyc` without source), "Vare" and Hyperion-packed stealers, GlassWorm's invisible characters.
Costs: text searches only, 5 to 20 ms for a median wheel.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from sandboxes.screening.detectors.judging import gravest
from sandboxes.screening.detectors.reading_code import Source, excerpt, in_tests, installed, line_at, sources
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
# Plain searches are tens of times faster than patterns; nearly no file gets past them.
_KNOWN_HINTS: Final = (b"pyarmor", b"obfus", b"fuscate", b"w4sp", b"blankobf")
_RUN_HINTS: Final = (b"exec", b"eval", b"marshal", b"pickle", b"FunctionType")
_KIND: Final = re.compile(rb"[IlO01_]{8}")
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
_RUNS: Final = re.compile(
    r"(?<![.\w])(?:exec|eval)\s*\(|\bmarshal\.loads\b|\bpickle\.loads\b|\bFunctionType\b"
)
_DECODES: Final = re.compile(
    r"b(?:16|32|64|85)decode|fromhex|unhexlify|decompress|\bdecrypt\(|a85decode|rot.?13"
)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_LONG: Final = 5000  # characters of a line
_ALIKE: Final = frozenset("аеорсухіјѕһԁԛԝгԍӏοναρικτ")  # Cyrillic and Greek letters that look Latin


def look(package: Package, former: Package | None) -> Iterator[Found]:
    found = [each for source in sources(package).files for each in _of_source(source)]
    yield from gravest([*found, *_compiled_only(package)])


def _of_source(source: Source) -> Iterator[Found]:
    content = source.content
    text = source.text
    if b"  " * 75 in content or b"\t" * 40 in content:
        yield from _far_right(source, text)
    lowered = content.lower()
    if any(each in lowered for each in _KNOWN_HINTS):
        match = _KNOWN.search(text)
        if match is not None:
            yield _found(source, "known-tool", Threat.HIGH, "It has the mark of an obfuscator", match.start())
    yield from _names(source, text)
    yield from _escapes(source, text)
    yield from _blobs(source, text)
    if not content.isascii():
        yield from _characters(source, text)


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


def _far_right(source: Source, text: str) -> Iterator[Found]:
    for match in _FAR.finditer(text):
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        # A comment's or a table's columns are no code.
        if "#" not in before and _CODE.search(match[1]):
            yield _found(
                source, "far-right", Threat.HIGH, "Code stands far to the right, out of sight", match.end()
            )
            return


def _names(source: Source, text: str) -> Iterator[Found]:
    content = source.content
    names = {match[0] for match in _ONE_KIND.finditer(text)} if _KIND.search(content) else set()
    confusing = {each for each in names if len(set(each) - {"_"}) > 1}
    bars = set(_UNDERSCORES.findall(text)) if b"_____" in content else set()
    hexes = set(_HEX_NAMES.findall(text)) if b"_0x" in content else set()
    for found, least, what in (
        (confusing, 6, "I, l, O and 0"),
        (bars, 6, "underscores"),
        (hexes, 12, "numbers"),
    ):
        if len(found) >= least:
            place = text.find(min(found))
            yield _found(source, "names", Threat.HIGH, f"Names are made of {what} only", place)


def _escapes(source: Source, text: str) -> Iterator[Found]:
    match = _ESCAPES.search(text) if source.content.count(b"\\") >= 30 else None
    pieces = match[0].split("\\")[1:] if match is not None else []
    # A table of all characters is in order; text is not.
    if match is not None and pieces != sorted(pieces):
        threat = Threat.HIGH if _RUNS.search(text) else Threat.LOW
        yield _found(source, "escapes", threat, "Plain text is written as escapes", match.start())


def _blobs(source: Source, text: str) -> Iterator[Found]:
    if not any(each in source.content for each in _RUN_HINTS) or not _RUNS.search(text):
        return
    match = _HEX_BLOB.search(text) or _BLOB.search(text)
    if match is None or len(set(match[1])) < 12:  # a line of one letter is a line
        long = max((len(line) for line in text.splitlines()), default=0) if len(text) > _LONG else 0
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


def _characters(source: Source, text: str) -> Iterator[Found]:
    match = _INVISIBLE.search(text)
    if match is not None:
        threat = Threat.CRITICAL if _RUNS.search(text) else Threat.HIGH
        yield _found(source, "invisible", threat, "Many invisible characters stand in it", match.start())
    match = _BIDI.search(text)
    if match is not None:
        yield _found(
            source, "direction", Threat.LOW, "Characters turn the direction of the text", match.start()
        )
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            continue
        plain = unicodedata.normalize("NFKC", word)
        if plain.isascii() and plain in _POWERFUL:
            why = f"Python reads this as {plain}; it is written in other letters"
            yield _found(source, "confusable", Threat.CRITICAL, why, match.start())
            return
        if _mixed(word) and _is_identifier(text, match.end()):
            why = "A name mixes letters of different scripts that look the same"
            yield _found(source, "confusable", Threat.MEDIUM, why, match.start())
            return


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


def _compiled_only(package: Package) -> Iterator[Found]:
    """Compiled Python has to have its source beside it: else nobody can read what runs."""
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
                threat=Threat.LOW if in_tests(member.path) else Threat.HIGH,
                why="Compiled Python stands there without its source.",
                path=member.path,
            )
