"""What a release has, or can do, that the one before it had not.

Catches the compromised release: an account or a pipeline is stolen, and the next version is the last one
with a few lines more. It would have caught event-stream (2018), ua-parser-js (2021), ctx (2022),
ultralytics (2024), chalk and debug (2025, one file grown by an obfuscated line), num2words 0.5.15 (2025).
A finding of the other detectors that is new is repeated here; it is graver than it was there if the release
is otherwise the same, because nobody makes a release for one line that connects to the network by chance.
Cost: both archives' code is read and compared; only what differs is looked at again, and the former release
as a whole if that found anything.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from sandboxes.screening.detectors import (
    core_metadata,
    import_time,
    install_code,
    native,
    npm_code,
    npm_scripts,
    obfuscation,
    secrets,
    start_hooks,
    yara_rules,
)
from sandboxes.screening.detectors.comparing import (
    NATIVE,
    READ,
    Comparison,
    Part,
    is_code,
    normalised,
    suffix,
)
from sandboxes.screening.detectors.reading_code import in_tests, once
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Member, Package

_CODE: Final = (
    start_hooks,
    install_code,
    import_time,
    obfuscation,
    secrets,
    native,
    npm_scripts,
    npm_code,
    yara_rules,
)
_ORDER: Final = list(Threat)
_BY_THEMSELVES: Final = 50  # files: more are as good as the whole
_TOLD: Final = 3  # files of one kind that are named
_HOOKS: Final = re.compile(r"(?:[^/]+\.pth|(?:sitecustomize|usercustomize)(?:/__init__)?\.py)")
_SCRIPTS: Final = frozenset((".sh", ".bash", ".bat", ".cmd", ".ps1", ".vbs"))
_ARCHIVES: Final = frozenset((".zip", ".whl", ".egg", ".tgz", ".gz", ".xz", ".bz2", ".7z", ".rar", ".jar"))
_LIFECYCLE: Final = ("preinstall", "install", "postinstall", "prepare")
_MIB: Final = 1024 * 1024
_GROWN_BY: Final = 20_000  # characters
_DEPENDENCIES: Final = ("dependencies", "optionalDependencies")
_WORDED: Final = frozenset((".py", ".js", ".cjs", ".mjs"))
_FIRST: Final = {
    Words((
        b"subprocess.", b"os.system", b"os.popen", b"os.spawn", b"os.exec", b"os.startfile", b"pty.spawn",
        b"child_process",
    )): Ability.PROCESS,
    Words(
        (b"marshal.loads", b"ctypes.CDLL", b"ctypes.WinDLL", b"exec_module"),
        patterns={"exec(": r"[^.\w](exec|eval)\("},
    ): Ability.EXECUTE,
}  # fmt: skip
_ELSEWHERE: Final = re.compile(
    r"@\s*(?:https?|git|file)|^(?:https?|git|file|github|gitlab|bitbucket)[:+]|^[\w-]+/[\w.-]+"
)


def look(package: Package, former: Package | None) -> Iterator[Found]:
    if former is None:
        return
    compared = Comparison(package, former)
    if compared.from_sources:
        yield from _not_in_sources(compared)
        return
    yield from _kinds(compared)
    yield from _grown(compared)
    yield from _lifecycle(compared)
    yield from _dependencies(compared)
    yield from _people(compared)
    yield from _size(compared)
    yield from _abilities(compared)
    yield from _first_words(compared)


def _not_in_sources(compared: Comparison) -> Iterator[Found]:
    """A wheel against its sdist: what is added while it is built is nowhere to be reviewed."""
    code = [member for member in compared.part.members if suffix(member.path) in (".py", ".pth")]
    for found in _gravest(_new(compared, code)):
        yield _again(
            found, "difference.not-in-sources", found.threat, "In no file of the release's own sources"
        )


def _kinds(compared: Comparison) -> Iterator[Found]:
    """New files of kinds that matter."""
    added = compared.added
    former = compared.former_version or "the release before it"
    native = [member for member in added if suffix(member.path) in NATIVE]
    if native and not any(suffix(path) in NATIVE for path in compared.before):
        threat = Threat.HIGH if compared.package.facts.filename.endswith("-any.whl") else Threat.MEDIUM
        yield _files(
            "native", Ability.NATIVE, threat, f"It brings machine code, and {former} had none", native
        )
    if hooks := [member for member in added if _HOOKS.fullmatch(member.path)]:
        yield _files(
            "start-hook", Ability.START, Threat.HIGH, f"Unlike {former}, it runs when Python starts", hooks
        )
    if scripts := [member for member in added if suffix(member.path) in _SCRIPTS]:
        yield _files("script", Ability.PROCESS, Threat.LOW, f"It has scripts that {former} had not", scripts)
    if archives := [member for member in added if suffix(member.path) in _ARCHIVES]:
        yield _files(
            "archive", Ability.CONTENT, Threat.LOW, f"It has archives that {former} had not", archives
        )
    if setup := [
        member for member in added if member.path == "setup.py" and compared.package.kind is Kind.SDIST
    ]:
        yield _files(
            "setup", Ability.INSTALL, Threat.MEDIUM, f"It has a setup.py, and {former} had none", setup
        )


def _files(rule: str, ability: Ability, threat: Threat, why: str, members: list[Member]) -> Found:
    more = len(members) - _TOLD
    named = ", ".join(member.path[:80] for member in members[:_TOLD]) + (
        f" and {more} more" if more > 0 else ""
    )
    return Found(f"difference.{rule}", ability, threat, f"{why}: {named}."[:500], members[0].path)


def _grown(compared: Comparison) -> Iterator[Found]:
    """A line about as long as all of its file was: code that somebody packed, in what somebody wrote."""
    for member in compared.changed:
        old = compared.old(member)
        if old is None or member.size < old.size + _GROWN_BY or member.size < 3 * old.size:
            continue
        longest = max(compared.new_lines(member), key=len, default="")
        if len(longest) > max(_GROWN_BY // 2, old.size // 2):
            yield Found(
                "difference.grown",
                Ability.EXECUTE,
                Threat.HIGH if compared.small else Threat.MEDIUM,
                f"It had {old.size} bytes, and has a line of {len(longest)} characters that nobody typed.",
                member.path,
                excerpt=longest[:300],
            )


def _lifecycle(compared: Comparison) -> Iterator[Found]:
    if compared.package.kind is not Kind.NPM:
        return
    new, old = _scripts(compared.package), _scripts(compared.former)
    for name in _LIFECYCLE:
        if name in new and new[name] != old.get(name):
            fresh = name not in old
            yield Found(
                "difference.lifecycle",
                Ability.INSTALL,
                Threat.HIGH if fresh and name != "prepare" else Threat.MEDIUM,
                f"Its script {name} is {'new' if fresh else 'another one'} since "
                f"{compared.former_version or 'the release before it'}.",
                "package.json",
                excerpt=new[name][:300],
            )


def _scripts(package: Package) -> dict[str, str]:
    scripts = (core_metadata.package_json(package) or {}).get("scripts")
    return {str(name): str(text) for name, text in scripts.items()} if isinstance(scripts, dict) else {}


def _dependencies(compared: Comparison) -> Iterator[Found]:
    new, old = _needs(compared.package), _needs(compared.former)
    for name in list(dict.fromkeys(new))[:1000]:
        if name in old:
            continue
        elsewhere = bool(_ELSEWHERE.search(new[name]))
        yield Found(
            "difference.dependency",
            Ability.INSTALL,
            Threat.HIGH if elsewhere else Threat.LOW,
            f"It needs {name[:100]}, which {compared.former_version or 'the release before it'} did not"
            + (", and from a place that is no index." if elsewhere else "."),
            "package.json" if compared.package.kind is Kind.NPM else "",
            excerpt=new[name][:300],
        )


def _needs(package: Package) -> dict[str, str]:
    """What it needs, by name; optional extras of Python's are not installed by themselves."""
    if package.kind is Kind.NPM:
        said = core_metadata.package_json(package) or {}
        parts = [said[key] for key in _DEPENDENCIES if isinstance(said.get(key), dict)]
        return {str(name): str(wanted) for part in parts for name, wanted in part.items()}
    message = core_metadata.fields(core_metadata.metadata_member(package))
    lines = [str(line) for line in message.get_all("Requires-Dist") or []]
    return {
        re.split(r"[\s<>=!~;(\[@]", line, maxsplit=1)[0].lower(): line
        for line in lines
        if "extra ==" not in line
    }


def _people(compared: Comparison) -> Iterator[Found]:
    new, old = _named(compared.package), _named(compared.former)
    if new and old and not new & old:
        yield Found(
            "difference.people",
            Ability.IDENTITY,
            Threat.MEDIUM,
            f"Nobody whom {compared.former_version or 'the release before it'} names as author or maintainer "
            f"is named any more: it was {_some(old)}, and is {_some(new)}.",
        )


def _some(people: set[str]) -> str:
    return ", ".join(sorted(people)[:3])[:150]


def _named(package: Package) -> set[str]:
    """Addresses, or names where there are none."""
    if package.kind is Kind.NPM:
        said = core_metadata.package_json(package) or {}
        listed = said.get("maintainers")
        people: list[Any] = [said.get("author"), *(listed if isinstance(listed, list) else [])]
        texts = [
            str(each.get("email") or each.get("name") or "") if isinstance(each, dict) else str(each or "")
            for each in people
        ]
    else:
        message = core_metadata.fields(core_metadata.metadata_member(package))
        keys = ("Author-email", "Maintainer-email", "Author", "Maintainer")
        texts = list(chain.from_iterable(core_metadata.one(message, key).split(",") for key in keys))
    found = {
        (re.findall(r"[^\s<>@]+@[^\s<>@]+", text[:500]) or [text.strip()[:200]])[0].lower()
        for text in texts[:100]
    }
    return found - {"", "unknown", "none"}


def _size(compared: Comparison) -> Iterator[Found]:
    if compared.package.kind is not compared.former.kind:
        return
    new = sum(member.size for member in compared.package.members)
    old = sum(member.size for member in compared.former.members)
    if new < 3 * old or new < old + _MIB:
        return
    much = new > 10 * old and new > old + 5 * _MIB and _patch(compared)
    yield Found(
        "difference.size",
        Ability.CONTENT,
        Threat.MEDIUM if much else Threat.LOW,
        f"It unpacks to {new / _MIB:.1f} MiB, and the release before it to {old / _MIB:.1f}.",
    )


def _patch(compared: Comparison) -> bool:
    """Whether only the last number of the version is another."""
    try:
        new, old = Version(compared.package.facts.version), Version(compared.former_version)
    except InvalidVersion:
        return False
    return new.release[:2] == old.release[:2]


def _first_words(compared: Comparison) -> Iterator[Found]:
    """Of a release that is otherwise the same: it starts programs or runs made-up code, as none of its files did.

    In whatever function: what a function does that somebody has to call is no finding by itself.
    """
    if not compared.small:
        return
    told: set[bytes] = set()
    for member in compared.part.members:
        if suffix(member.path) not in _WORDED or in_tests(member.path):
            continue
        lines = compared.new_lines(member)
        for words, ability in _FIRST.items():
            said = words.within("\n".join(lines).encode())
            if not said or said <= told or _said_before(compared, words):
                continue
            told |= said
            word = min(said).decode()
            yield Found(
                "difference.first-of-its-kind",
                ability,
                Threat.HIGH,
                f"It uses {word}, and no file of {compared.former_version or 'the release before it'} did "
                "anything of the kind.",
                member.path,
                excerpt=next((line for line in lines if word in line), "")[:300],
            )


def _said_before(compared: Comparison, words: Words) -> bool:
    code = (member for member in compared.former.members if suffix(member.path) in _WORDED)
    return any(words.within(member.read(READ)) for member in code)


def _abilities(compared: Comparison) -> Iterator[Found]:
    fresh = _new(compared, list(compared.part.members))
    if not fresh:
        return
    # All that the former release was able to do, wherever: a move to another file is nothing new.
    old = {found.ability for found in _looked(compared.former)}
    former = compared.former_version or "the release before it"
    for found in _gravest(fresh):
        unseen = found.ability not in old
        if compared.small:
            threat = _graver(found.threat) if unseen or found.threat is Threat.HIGH else found.threat
            yield _again(
                found, "difference.small-change", threat, f"New in a release that is otherwise as {former}"
            )
        elif unseen and found.threat is not Threat.LOW:
            yield _again(found, "difference.ability", found.threat, f"Nothing in {former} was able to")


def _new(compared: Comparison, members: list[Member]) -> list[Found]:
    """What is found in what differs, and was not found before in the same file, or in the same words."""
    found = _found_in(compared.package, members)
    if not found:
        return []
    before = [old for member in members if (old := compared.old(member)) is not None]
    known = {(each.rule, normalised(each.path), each.excerpt) for each in _found_in(compared.former, before)}
    paths = {(rule, path) for rule, path, _ in known}
    lines = {member.path: compared.new_lines(member) for member in members if is_code(member.path)}
    return [each for each in found if _is_new(each, paths, known, lines.get(each.path))]


def _found_in(package: Package, members: list[Member]) -> list[Found]:
    """Few are looked at by themselves, because of each rule only the gravest of a package are told.

    What importing does is followed through the whole, which was done already.
    """
    paths = {member.path for member in members}
    few = len(members) <= _BY_THEMSELVES
    found = list(import_time.look(package, None)) if few else _looked(package)
    found = [each for each in found if each.path in paths]
    if few:
        found += _looked(Part(package, tuple(members)))
    return list(dict.fromkeys(found))


def _is_new(found: Found, paths: set[tuple[str, str]], known: set[tuple[str, str, str]], lines: Any) -> bool:
    path = normalised(found.path)
    if (found.rule, path) not in paths:
        return True
    if (found.rule, path, found.excerpt) in known or not found.excerpt or lines is None:
        return False
    words = found.excerpt.splitlines()[0].strip()
    return any(words in line for line in lines)


def _looked(package: Package) -> list[Found]:
    return once(
        package,
        "differences",
        lambda: [found for detector in _CODE for found in detector.look(package, None)],
    )


def _gravest(found: list[Found]) -> Iterator[Found]:
    """One for each ability: the others stand among the findings already."""
    by_ability: dict[Ability, Found] = {}
    for each in found:
        other = by_ability.get(each.ability)
        if other is None or _ORDER.index(each.threat) > _ORDER.index(other.threat):
            by_ability[each.ability] = each
    yield from by_ability.values()


def _again(found: Found, rule: str, threat: Threat, told: str) -> Found:
    return Found(
        rule, found.ability, threat, f"{told}: {found.why}"[:500], found.path, found.line, found.excerpt
    )


def _graver(threat: Threat) -> Threat:
    return _ORDER[min(_ORDER.index(threat) + 1, len(_ORDER) - 1)]
