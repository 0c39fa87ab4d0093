"""Known patterns: YARA rules of ours (`rules/`), and those of the admin's folder (SCREENING_RULES).

Catches what stands in the text of a file, whatever its syntax: webhooks that loot is sent to, reverse
shells, browsers' and wallets' files, miners, worms that publish themselves, obfuscators' marks. Among what
it would have caught: W4SP's stealers (2022, webhooks and browsers' stores), node-ipc (2022), the miners in
ultralytics (2024), Shai-Hulud (npm, 2025), and code behind hundreds of blanks (2023).
A rule's `meta` has its `ability` and `threat` (else: content, medium), a `description` of one sentence, and
`files`: "code" (the default for ours), "native" or "any" (the default for the admin's). `in_prose` and `in_function`
are its threats where all matches stand in a comment or docstring of Python, or in one of its functions.
What is in JSON, YAML and the like is read by a program and run by none, and JavaScript in a package of Python's runs
in a browser: a rule of ours for code says no more than medium there, unless its meta has `anywhere = true`.
Cost: a few milliseconds for a median wheel; rules are compiled once per process.
"""

import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Final

import yara_x
from msgspec.structs import replace

from sandboxes.screening.detectors import patterns
from sandboxes.screening.detectors.reading_code import Part, decoded, parts_at
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Member, Package

SECONDS: Final = 5  # for one member
ALTOGETHER: Final = 20.0  # seconds for all members of a package
LARGEST: Final = 8 * 1024 * 1024  # bytes of a member that are looked at
_EXCERPT: Final = 300
_TOLD: Final = 5  # files of code that are longer
_PLACES: Final = 8  # matches; where more stand, nothing is made less of
_CODE: Final = frozenset(
    (".py", ".pyw", ".pyi", ".pyx", ".pth", ".ipynb", ".js", ".cjs", ".mjs", ".jsx", ".ts", ".tsx", ".node",
     ".sh", ".bash", ".zsh", ".fish", ".bat", ".cmd", ".ps1", ".psm1", ".vbs", ".lua", ".rb", ".pl", ".php",
     ".json", ".toml", ".cfg", ".yml", ".yaml")
)  # fmt: skip
_DATA: Final = frozenset((".json", ".toml", ".cfg", ".yml", ".yaml"))
_COMMANDS: Final = frozenset(
    ("package.json", "pyproject.toml", "setup.cfg")
)  # these name commands that are run
_PAGES: Final = frozenset((".js", ".cjs", ".mjs", ".jsx", ".ts", ".tsx"))
_NATIVE: Final = frozenset((".so", ".pyd", ".dll", ".dylib", ".exe", ".node", ".bin", ".elf", ".a", ".lib"))
_PROSE: Final = frozenset(
    (".md", ".rst", ".txt", ".html", ".htm", ".css", ".svg", ".png", ".jpg", ".jpeg", ".gif", ".ico", ".woff",
     ".woff2", ".ttf", ".otf", ".eot", ".mo", ".po", ".map", ".csv", ".tsv", ".pdf", ".h", ".hpp")
)  # fmt: skip


def look(package: Package, former: Package | None) -> Iterator[Found]:
    end = time.monotonic() + ALTOGETHER
    scanner = _scanner()
    yield from _longer(package)
    for member in package.members:
        if time.monotonic() > end:
            yield _unfinished(member.path, "There was no time left to look for patterns from here on.")
            return
        try:
            content = member.read(LARGEST)
            matching = scanner.scan(content).matching_rules
        except yara_x.TimeoutError:
            yield _unfinished(member.path, f"Looking for patterns took longer than {SECONDS} s.")
            continue
        except yara_x.ScanError as error:
            yield _unfinished(member.path, f"Patterns could not be looked for: {str(error)[:200]}")
            continue
        for rule in matching:
            meta = dict(rule.metadata)
            if _concerns(str(meta.get("files", _default_files(rule))), member.path):
                found = _found(rule, meta, member, content)
                yield _less(found) if _elsewhere(rule, meta, member.path, package.kind) else found


@lru_cache(maxsize=1)
def _scanner() -> yara_x.Scanner:
    scanner = yara_x.Scanner(patterns.compiled().rules)
    scanner.set_timeout(SECONDS)
    scanner.max_matches_per_pattern(100)  # rules count up to some dozens
    return scanner


def _longer(package: Package) -> Iterator[Found]:
    """Code is seldom as long; of data it is told once."""
    code: list[str] = []
    data: list[str] = []
    for member in package.members:
        if member.size > LARGEST:
            suffix = PurePosixPath(member.path).suffix.lower()
            (code if suffix in _CODE - _DATA else data).append(member.path)
    for path in code[:_TOLD]:
        yield _unfinished(path, f"Patterns were looked for in its first {LARGEST >> 20} MiB only.")
    if data:
        why = f"Patterns were looked for in the first {LARGEST >> 20} MiB only (files of data: {len(data)})."
        yield _unfinished(data[0], why, Threat.LOW)


def _unfinished(path: str, why: str, threat: Threat = Threat.MEDIUM) -> Found:
    return Found("yara.unfinished", Ability.CONTENT, threat, why, path)


def _default_files(rule: yara_x.Rule) -> str:
    return "code" if rule.namespace == patterns.NAMESPACE else "any"


def _concerns(files: str, path: str) -> bool:
    suffix = PurePosixPath(path).suffix.lower()
    if files == "code":
        # Without a suffix: scripts.
        return suffix in _CODE or (not suffix and ".dist-info/" not in path)
    if files == "native":
        return suffix in _NATIVE or (suffix not in _CODE and suffix not in _PROSE)
    return True


def _found(rule: yara_x.Rule, meta: Mapping[str, Any], member: Member, content: bytes) -> Found:
    name = rule.identifier
    ours = rule.namespace == patterns.NAMESPACE
    line, excerpt = _place(rule, content)
    return Found(
        rule=f"yara.{name}" if ours else f"yara.{rule.namespace.rsplit('.', 1)[0]}.{name}",
        ability=_ability(meta.get("ability")),
        threat=_threat(_told_threat(rule, meta, member.path, content)),
        why=str(meta.get("description") or f"It matches the rule {name} of {rule.namespace}.")[:300],
        path=member.path,
        line=line,
        excerpt=excerpt,
    )


def _told_threat(rule: yara_x.Rule, meta: Mapping[str, Any], path: str, content: bytes) -> object:
    """Less where the rule says so: in a function that somebody has to call, or in what only people read."""
    own = {Part.PROSE: meta.get("in_prose"), Part.FUNCTION: meta.get("in_function")}
    offsets = {match.offset for pattern in rule.patterns for match in pattern.matches}
    if not any(own.values()) or not path.endswith(".py") or not 0 < len(offsets) <= _PLACES:
        return meta.get("threat")
    text = decoded(content)
    parts = parts_at(text, {content.count(b"\n", 0, each) + 1 for each in offsets})
    gravest = next(each for each in (Part.OTHER, Part.FUNCTION, Part.PROSE) if each in parts)
    return own.get(gravest) or meta.get("threat")


def _elsewhere(rule: yara_x.Rule, meta: Mapping[str, Any], path: str, kind: Kind) -> bool:
    """Whether a rule of ours matches where no interpreter of this kind of package gets to."""
    if rule.namespace != patterns.NAMESPACE or meta.get("files") or meta.get("anywhere"):
        return False
    name = PurePosixPath(path)
    if name.suffix.lower() in _DATA:
        return name.name not in _COMMANDS
    return kind is not Kind.NPM and name.suffix.lower() in _PAGES


def _less(found: Found) -> Found:
    return replace(found, threat=Threat.MEDIUM) if found.threat in (Threat.HIGH, Threat.CRITICAL) else found


def _place(rule: yara_x.Rule, content: bytes) -> tuple[int, str]:
    """Where the first match is that a person would see; 0 and nothing inside of machine code."""
    matches = [match for pattern in rule.patterns for match in pattern.matches]
    if not matches:
        return 0, ""
    first = min(matches, key=lambda match: match.offset)
    if b"\0" in content[: 64 * 1024]:
        told = content[first.offset : first.offset + min(first.length, _EXCERPT)]
        return 0, told.decode(errors="replace").replace("\0", "")[:_EXCERPT]
    before = content.rfind(b"\n", 0, first.offset) + 1
    end = content.find(b"\n", first.offset)
    start = max(before, first.offset - 80)
    words = content[start : end if end >= 0 else len(content)][: 4 * _EXCERPT].decode(errors="replace")
    return content.count(b"\n", 0, first.offset) + 1, words.strip()[:_EXCERPT]


def _ability(given: object) -> Ability:
    try:
        return Ability(str(given).lower())
    except ValueError:
        return Ability.CONTENT


def _threat(given: object) -> Threat:
    try:
        return Threat(str(given).lower())
    except ValueError:
        return Threat.MEDIUM
