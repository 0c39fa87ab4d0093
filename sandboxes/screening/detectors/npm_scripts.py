"""What an npm package runs when it is installed, and what its JavaScript does that good code seldom does.

Lifecycle scripts (`preinstall`, `install`, `postinstall`, and `binding.gyp`, which implies one) run for whoever
installs it. The files they start are read. Words that stand near each other are looked for here, in all JavaScript
there is; what is run first is followed by its syntax tree as well (`npm_code`).
Would have caught: event-stream/flatmap-stream (code decrypted with another package's description), ua-parser-js and
coa/rc (preinstall fetches a miner), eslint-scope (`.npmrc` sent by postinstall), node-ipc's eraser, chalk/debug of
2025 (`_0x` code around `window.ethereum`), Shai-Hulud (postinstall `node bundle.js`), dependency confusion beacons.
Costs: text searches of at most 8 MB; nothing in wheels and sdists.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from sandboxes.screening.detectors.judging import FETCHING, gravest
from sandboxes.screening.detectors.powers import COLLECTOR_HINTS, COLLECTORS, FOREIGN_COMMAND, places_in
from sandboxes.screening.detectors.reading_code import excerpt, in_tests, line_at
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Member, Package

_LARGEST: Final = 3_000_000  # bytes of a file
_MOST: Final = 8_000_000  # bytes of all
_NEAR: Final = 5_000  # characters
_HOOKS: Final = ("preinstall", "install", "postinstall")
_USUAL: Final = re.compile(
    r"\s*(?:node-gyp(?:-build)?(?: rebuild| configure build)?|node-gyp-build(?:-optional-packages)?|prebuild-install"
    r"(?: \|\| [\w -]+)?|husky(?: install)?|is-ci(?: \|\| husky install)?|patch-package|opencollective(?:-postinstall)?"
    r"|ngcc|lerna bootstrap|echo [^|;&>`$]*|exit 0|true|cmake-js (?:compile|install)|napi-postinstall [\w@/ .-]+|"
    r"node-pre-gyp install(?: --fallback-to-build)?|prebuildify[\w -]*|pkg-prebuilds[\w -]*|electron-rebuild)"
    r"(?:\s*\|\|\s*(?:true|exit 0|node-gyp rebuild|echo [^|;&>`$]*))*\s*"
)
_NODE: Final = re.compile(r"\bnode\s+(?:-r\s+\S+\s+)?[\"']?(?:\./)?([\w@./-]+)")
# `node -e "try{require('./postinstall')}catch(e){}"` starts a file, and nothing else.
_REQUIRES: Final = re.compile(
    r"\s*node\s+(?:-e|--eval)\s+\"?(?:try\s*\{)?\s*require\(['\"]\./([\w@./-]+)['\"]\);?\s*"
    r"(?:\}\s*catch\s*(?:\(\w+\))?\s*\{\s*\})?\"?\s*"
)
_SHELL: Final = re.compile(
    r"(?:\b(?:sh|bash|cmd(?:\.exe)? /c|start)\s+|^\s*\./|&&\s*\./)[\"']?(?:\./)?([\w@./-]+\.(?:sh|bat|cmd|ps1))"
)
_DECODED_RUN: Final = re.compile(
    r"\b(?:eval|Function|_compile|runInThisContext|runInNewContext|execSync|exec|setTimeout)\s*\(\s*(?:new\s+)?"
    r"(?:atob|Buffer\.from|Buffer|unescape|decodeURIComponent|String\.fromCharCode)\s*\("
    r"|\b(?:eval|Function)\s*\([^;\n]{0,200}(?:['\"](?:base64|hex)['\"]|fromCharCode|atob\()"
)
_DECIPHER: Final = re.compile(r"createDecipher(?:iv)?\s*\(")
_RUN: Final = re.compile(r"\b_compile\s*\(|\beval\s*\(|\bnew\s+Function\s*\(|\brunIn(?:This|New)Context\s*\(")
_OBFUSCATED: Final = re.compile(r"\b_0x[0-9a-f]{4,6}\b")
_PROCESS: Final = re.compile(r"child_process|\bexecSync\b|\bspawnSync\b|\bexecFile(?:Sync)?\b")
_NETWORK: Final = re.compile(
    r"\bhttps?['\"]?\)?\.(?:get|request)\s*\(|\bfetch\s*\(|\baxios\b|require\(['\"](?:node:)?(?:https?|net|dns|request|got"
    r"|node-fetch|axios|ws)['\"]\)|\bdns\.(?:lookup|resolve\w*)\s*\(|\bXMLHttpRequest\b|\bnet\.(?:connect|Socket)"
)
_ENV_DUMP: Final = re.compile(
    r"(?:JSON\.stringify|Object\.(?:keys|entries|assign)|querystring\.stringify)\s*\([^()\n]{0,60}process\.env(?![\w.\[])"
    # What is taken out of it by name is not all of it.
    r"|\.\.\.process\.env\s*[,}]|(?<!\})(?<!\}\s)[:=]\s*process\.env\s*[,;}\n]"
)
_HOST: Final = re.compile(
    r"\bos\.(?:hostname|userInfo|networkInterfaces|homedir)\s*\(|hostname\(\)|\bwhoami\b"
)
_WALLET: Final = re.compile(r"window\.ethereum|\bsolana\b.*signTransaction|\beth_sendTransaction\b")
_ERASES: Final = re.compile(
    r"\brm(?:dir)?Sync\s*\(\s*(?:os\.homedir\(\)|['\"][/~]['\"])|\brm\s+-rf\s+(?:/|~|\$HOME)(?:\s|['\"]|$)"
)
# Nearly no file gets past these.
_DECODERS: Final = frozenset((
    b"atob", b"buffer", b"unescape", b"decodeuricomponent", b"fromcharcode", b"base64", b"hex",
))  # fmt: skip
_PROCESSES: Final = frozenset((b"child_process", b"execsync", b"spawnsync", b"execfile"))
_ERASERS: Final = frozenset((b"rmsync", b"rmdirsync", b"-rf"))
_DECIPHERS: Final = b"createdecipher"
_HINTS: Final = Words(
    (*_DECODERS, *_PROCESSES, *_ERASERS, _DECIPHERS, b"_0x", *COLLECTOR_HINTS), any_case=True
)
_ADDRESS: Final = re.compile(r"^(?:https?|git(?:\+\w+)?|ssh|file):|^[\w-]+/[\w.-]+(?:#.*)?$|^github:")


def look(package: Package, former: Package | None) -> Iterator[Found]:
    if package.kind is not Kind.NPM:
        return
    found = list(_manifest(package))
    left = _MOST
    for member in package.members:
        if member.path.lower().endswith((".js", ".cjs", ".mjs")) and member.size <= min(_LARGEST, left):
            left -= member.size
            found += _unless_plain(member)
    yield from gravest(found)


def _manifest(package: Package) -> Iterator[Found]:
    member = package.member("package.json")
    if member is None or member.size > _LARGEST:
        return
    text = member.text(_LARGEST)
    try:
        manifest: Any = json.loads(text)
    except (ValueError, RecursionError):
        yield _found(
            "unread", Ability.INSTALL, Threat.HIGH, "Its package.json cannot be read", member.path, text, 0
        )
        return
    manifest = manifest if isinstance(manifest, dict) else {}
    scripts = manifest.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    for hook in _HOOKS:
        command = scripts.get(hook)
        if isinstance(command, str) and command.strip():
            yield from _script(package, text, hook, command)
    if not any(hook in scripts for hook in ("install", "preinstall")):
        yield from _binding(package)
    yield from _dependencies(manifest, text)


def _script(package: Package, text: str, hook: str, command: str) -> Iterator[Found]:
    place = max(text.find(f'"{hook}"'), 0)
    if _USUAL.fullmatch(command):
        yield _found("install-script", Ability.INSTALL, Threat.LOW, f"Its {hook} builds or says something",
                     "package.json", text, place)  # fmt: skip
        return
    if FETCHING.search(command) or COLLECTORS.search(command):
        threat, why = Threat.CRITICAL, f"Its {hook} fetches something, opens a shell or sends something"
    elif not _REQUIRES.fullmatch(command) and (
        FOREIGN_COMMAND.search(command) or re.search(r"\bnode\s+(?:-e|--eval|-p)\b", command)
    ):
        threat, why = Threat.HIGH, f"Its {hook} runs a command that brings or changes other things"
    else:
        threat, why = Threat.MEDIUM, f"Its {hook} runs something of its own"
    yield _found("install-script", Ability.INSTALL, threat, why, "package.json", text, place)
    for name in (*_NODE.findall(command), *_REQUIRES.findall(command), *_SHELL.findall(command)):
        yield from _started(package, name)


def _started(package: Package, name: str) -> Iterator[Found]:
    for path in (name, f"{name}.js", f"{name}/index.js", f"{name}.cjs"):
        member = package.member(path)
        if member is not None and member.size <= _LARGEST:
            text = member.text(_LARGEST)
            if path.endswith((".sh", ".bat", ".cmd", ".ps1")):
                yield from _shell(path, text)
            else:
                yield from _javascript(path, text, _HINTS.within(text.encode()), installs=True)
            return
        if member is not None:
            yield Found(
                rule="npm.install-file-large",
                ability=Ability.INSTALL,
                threat=Threat.HIGH,
                why="The file that its install script runs is too large to be looked at.",
                path=path,
            )


def _shell(path: str, text: str) -> Iterator[Found]:
    match = FETCHING.search(text) or COLLECTORS.search(text)
    if match is not None:
        yield _found("install-fetches", Ability.INSTALL, Threat.CRITICAL,
                     "A script that its install runs fetches or sends", path, text, match.start())  # fmt: skip


def _binding(package: Package) -> Iterator[Found]:
    """npm builds a package that has `binding.gyp`, and gyp runs the commands in it."""
    member = package.member("binding.gyp")
    if member is None or member.size > _LARGEST:
        return
    text = member.text(_LARGEST)
    for match in re.finditer(r"<!@?\(([^)\n]{0,500})\)", text):
        if FOREIGN_COMMAND.search(match[1]):
            yield _found("gyp-command", Ability.INSTALL, Threat.HIGH,
                         "Its build file runs a command that brings or changes other things",
                         "binding.gyp", text, match.start())  # fmt: skip


def _dependencies(manifest: dict[str, Any], text: str) -> Iterator[Found]:
    for group in ("dependencies", "optionalDependencies"):
        listed = manifest.get(group)
        for name, wanted in listed.items() if isinstance(listed, dict) else ():
            if isinstance(wanted, str) and _ADDRESS.match(wanted):
                yield _found("dependency-address", Ability.NETWORK, Threat.MEDIUM,
                             f"It needs {str(name)[:80]} from an address instead of the registry",
                             "package.json", text, max(text.find(wanted), 0))  # fmt: skip


def _unless_plain(member: Member) -> Iterator[Found]:
    """Of a file that nobody runs at once, if it has any of the words that what is looked for begins with."""
    if in_tests(member.path):
        return
    hints = _HINTS.within(member.read(_LARGEST))
    if hints:
        yield from _javascript(member.path, member.text(_LARGEST), hints, installs=False)


def _javascript(path: str, text: str, hints: frozenset[bytes], *, installs: bool) -> Iterator[Found]:
    grave = Threat.CRITICAL if installs else Threat.HIGH
    match = _DECODED_RUN.search(text) if hints & _DECODERS else None
    if match is not None:
        yield _found(
            "exec-decoded", Ability.EXECUTE, grave, "Decoded text is run as code", path, text, match.start()
        )
    decipher = _DECIPHER.search(text) if _DECIPHERS in hints else None
    if decipher is not None and _RUN.search(text):
        near = text[max(decipher.start() - _NEAR, 0) : decipher.end() + _NEAR]
        # In a bundle of a hundred modules one decrypts and another evaluates.
        threat = Threat.CRITICAL if _RUN.search(near) else Threat.MEDIUM
        yield _found("exec-decrypted", Ability.EXECUTE, threat, "It decrypts something and runs code",
                     path, text, decipher.start())  # fmt: skip
    if b"_0x" in hints:
        yield from _obfuscated(path, text, installs=installs)
    # What is not run at once is told of only if it names a collector.
    if installs or not hints.isdisjoint(COLLECTOR_HINTS):
        yield from _sends(path, text, installs=installs)
    erases = _ERASES.search(text) if hints & _ERASERS else None
    if erases is not None:
        yield _found(
            "erases",
            Ability.FILES,
            Threat.CRITICAL,
            "It deletes a home or everything",
            path,
            text,
            erases.start(),
        )
    process = _PROCESS.search(text) if hints & _PROCESSES else None
    if process is not None and _NETWORK.search(text):
        threat = Threat.HIGH if installs else Threat.LOW
        yield _found("network-and-process", Ability.PROCESS, threat, "It connects and starts programs",
                     path, text, process.start())  # fmt: skip


def _obfuscated(path: str, text: str, *, installs: bool) -> Iterator[Found]:
    names = set(_OBFUSCATED.findall(text[:200_000]))
    if len(names) < 12:
        return
    worse = installs or _WALLET.search(text) is not None
    place = text.find(min(names))
    threat = Threat.CRITICAL if worse else Threat.HIGH
    yield _found("obfuscated", Ability.EXECUTE, threat, "It went through an obfuscator", path, text, place)


def _sends(path: str, text: str, *, installs: bool) -> Iterator[Found]:
    network = _NETWORK.search(text)
    if network is None:
        return
    dump, host, collector = _ENV_DUMP.search(text), _HOST.search(text), COLLECTORS.search(text)
    places = {
        family
        for each in re.findall(r"['\"`]([^'\"`\n]{4,200})['\"`]", text[:500_000])
        for family in places_in(each)
    }
    if dump is not None and (installs or collector is not None):
        yield _found("environment-sent", Ability.SECRETS, Threat.CRITICAL, "It takes the environment and connects",
                     path, text, dump.start())  # fmt: skip
    elif host is not None and (installs or collector is not None):
        yield _found("host-told", Ability.SECRETS, Threat.CRITICAL, "It asks who and where this is, and connects",
                     path, text, host.start())  # fmt: skip
    elif places and installs:
        yield _found("credentials-sent", Ability.SECRETS, Threat.CRITICAL,
                     f"It names credentials ({', '.join(sorted(places))}) and connects",
                     path, text, network.start())  # fmt: skip
    elif installs:
        yield _found("install-connects", Ability.NETWORK, Threat.MEDIUM, "What runs at its install connects",
                     path, text, network.start())  # fmt: skip
    elif collector is not None:
        yield _found("collector", Ability.NETWORK, Threat.HIGH, "It names where anybody may collect, and connects",
                     path, text, collector.start())  # fmt: skip


def _found(rule: str, ability: Ability, threat: Threat, why: str, path: str, text: str, place: int) -> Found:
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    return Found(
        rule=f"npm.{rule}",
        ability=ability,
        threat=threat,
        why=f"{why}.",
        path=path,
        line=line_at(text, place),
        excerpt=excerpt(text[start : end if end >= 0 else None], place - start),
    )
