"""What an npm package runs when it is installed, and what its JavaScript does that good code seldom does.

Lifecycle scripts (`preinstall`, `install`, `postinstall`, and `binding.gyp`, which implies one) run for whoever
installs it. The files they start are read. Words that stand near each other are looked for here, in all JavaScript
there is; what is run first is followed by its syntax tree as well (`npm_code`).
Would have caught: event-stream/flatmap-stream (code decrypted with another package's description), ua-parser-js and
coa/rc (preinstall fetches a miner), eslint-scope (`.npmrc` sent by postinstall), node-ipc's eraser, chalk/debug of
2025 (`_0x` code around `window.ethereum`), Shai-Hulud (postinstall `node bundle.js`), dependency confusion beacons.
Costs: text searches of at most 16 MB; nothing in wheels and sdists.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from sandboxes.screening.detectors import npm_gyp
from sandboxes.screening.detectors.judging import FETCHING, gravest
from sandboxes.screening.detectors.npm_commands import LONGEST
from sandboxes.screening.detectors.npm_files import (
    ENDINGS,
    LARGEST,
    is_script,
    is_shell,
    searched,
    started_by,
)
from sandboxes.screening.detectors.npm_manifest import MANIFEST, SCRIPTS, Trouble, commands, manifest
from sandboxes.screening.detectors.powers import COLLECTOR_HINTS, COLLECTORS, FOREIGN_COMMAND, places_in
from sandboxes.screening.detectors.reading_code import excerpt, in_tests, line_at
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Member, Package

_NEAR: Final = 5_000  # characters
_DECIPHERED: Final = 200  # places of a file that are looked at; more of them are no good sign either
_USUAL: Final = re.compile(
    r"\s*(?:node-gyp(?:-build)?(?: rebuild| configure build)?|node-gyp-build(?:-optional-packages)?|prebuild-install"
    r"(?: \|\| [\w -]+)?|husky(?: install)?|is-ci(?: \|\| husky install)?|patch-package|opencollective(?:-postinstall)?"
    r"|ngcc|lerna bootstrap|echo [^|;&>`$]*|exit 0|true|cmake-js (?:compile|install)|napi-postinstall [\w@/ .-]+|"
    r"node-pre-gyp install(?: --fallback-to-build)?|prebuildify[\w -]*|pkg-prebuilds[\w -]*|electron-rebuild)"
    r"(?:\s*\|\|\s*(?:true|exit 0|node-gyp rebuild|echo [^|;&>`$]*))*\s*"
)
# `node -e "try{require('./postinstall')}catch(e){}"` starts a file, and nothing else.
_REQUIRES: Final = re.compile(
    r"\s*node\s+(?:-e|--eval)\s+\"?(?:try\s*\{)?\s*require\(['\"]\./([\w@./-]+)['\"]\);?\s*"
    r"(?:\}\s*catch\s*(?:\(\w+\))?\s*\{\s*\})?\"?\s*"
)
# It may be given any file, whatever that is called.
_A_SHELL: Final = re.compile(r"(?:^|[\s;&|(/])(?:(?:ba|da|z|k)?sh|source|\.)[\"']?\s+(?!-c\b)")
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
    # Apart, because what only an installation does may count less.
    yield from gravest(replace(each, installs=True) for each in _installation(package))
    yield from gravest(_rest(package))


def _installation(package: Package) -> Iterator[Found]:
    read = manifest(package)
    if read.trouble in (Trouble.LARGE, Trouble.DEEP):
        # npm reads it all the same, so this hides what it runs.
        yield Found("npm.unread", Ability.INSTALL, Threat.CRITICAL,
                    f"Its package.json cannot be read: {read.trouble}.", MANIFEST)  # fmt: skip
    elif read.trouble is Trouble.BROKEN:
        why = f"Its package.json cannot be read: {read.trouble}"
        yield _found("unread", Ability.INSTALL, Threat.HIGH, why, MANIFEST, read.text, 0)
    started: dict[str, str] = {}  # and by which commands
    ran = list(commands(package))
    if len(ran) >= SCRIPTS:
        why = "Its installation runs more scripts than are looked at"
        yield _found("install-script", Ability.INSTALL, Threat.CRITICAL, why, MANIFEST, read.text, 0)
    for name, command in ran:
        yield _script(read.text, name, command)
        _remember(started, started_by(package, command), command)
    for built in npm_gyp.commands(package):
        yield from _builds(built)
        if isinstance(built, npm_gyp.Command):
            _remember(started, started_by(package, built.text), built.text)
    for path, command in started.items():
        yield from _started(package, path, by_shell=_A_SHELL.search(command) is not None)


def _remember(started: dict[str, str], paths: list[str], command: str) -> None:
    for path in paths:
        started[path] = f"{started.get(path, '')}\n{command}"


def _rest(package: Package) -> Iterator[Found]:
    read = manifest(package)
    yield from _dependencies(read.said, read.text)
    paths = searched(package)
    for member in package.members:
        if member.path in paths:
            yield from _unless_plain(member)


def _script(text: str, name: str, command: str) -> Found:
    place = max(text.find(f'"{name}"'), 0)
    if len(command) > LONGEST:
        threat, why = Threat.CRITICAL, f"Its {name} is longer than what is looked at"
    elif _USUAL.fullmatch(command):
        threat, why = Threat.LOW, f"Its {name} builds or says something"
    elif FETCHING.search(command) or COLLECTORS.search(command):
        threat, why = Threat.CRITICAL, f"Its {name} fetches something, opens a shell or sends something"
    elif not _REQUIRES.fullmatch(command) and (
        FOREIGN_COMMAND.search(command) or re.search(r"\bnode\s+(?:-e|--eval|-p)\b", command)
    ):
        threat, why = Threat.HIGH, f"Its {name} runs a command that brings or changes other things"
    else:
        threat, why = Threat.MEDIUM, f"Its {name} runs something of its own"
    return _found("install-script", Ability.INSTALL, threat, why, MANIFEST, text, place)


def _started(package: Package, path: str, *, by_shell: bool) -> Iterator[Found]:
    member = package.member(path)
    if member is None:
        return
    if member.size > LARGEST:
        yield _too_large(path, "file that its install script runs")
        return
    text = member.text(LARGEST)
    if by_shell or is_shell(package, path) or not is_script(package, path):
        yield from _shell(path, text)
    if path.endswith(ENDINGS) or not is_shell(package, path):
        yield from _javascript(path, text, _HINTS.within(text.encode()), installs=True)


def _too_large(path: str, what: str) -> Found:
    return Found(
        rule="npm.install-file-large",
        ability=Ability.INSTALL,
        threat=Threat.HIGH,
        why=f"The {what} is too large to be looked at.",
        path=path,
    )


def _shell(path: str, text: str) -> Iterator[Found]:
    match = FETCHING.search(text) or COLLECTORS.search(text)
    if match is not None:
        yield _found("install-fetches", Ability.INSTALL, Threat.CRITICAL,
                     "A script that its install runs fetches or sends", path, text, match.start())  # fmt: skip


def _builds(told: npm_gyp.Told) -> Iterator[Found]:
    text = ""
    if isinstance(told, npm_gyp.TooLarge):
        yield _too_large(told.path, "build file")
        return
    if isinstance(told, npm_gyp.Program):
        threat, why = Threat.CRITICAL, "Its build file is a program"
    else:
        text = told.text[:LONGEST]
        does = "A command of its build file"
        if len(told.text) > LONGEST:
            threat, why = Threat.CRITICAL, f"{does} is longer than what is looked at"
        elif FETCHING.search(text) or COLLECTORS.search(text):
            threat, why = Threat.CRITICAL, f"{does} fetches something, opens a shell or sends something"
        elif FOREIGN_COMMAND.search(text):
            threat, why = Threat.HIGH, f"{does} brings or changes other things"
        else:
            return
    yield Found("npm.gyp-command", Ability.INSTALL, threat, f"{why}.", told.path, told.line, excerpt(text))


def _dependencies(manifest: dict[str, Any], text: str) -> Iterator[Found]:
    for group in ("dependencies", "optionalDependencies"):
        listed = manifest.get(group)
        for name, wanted in listed.items() if isinstance(listed, dict) else ():
            if isinstance(wanted, str) and _ADDRESS.match(wanted):
                yield _found("dependency-address", Ability.NETWORK, Threat.MEDIUM,
                             f"It needs {str(name)[:80]} from an address instead of the registry",
                             MANIFEST, text, max(text.find(wanted), 0))  # fmt: skip


def _unless_plain(member: Member) -> Iterator[Found]:
    """Of a file that nobody runs at once, if it has any of the words that what is looked for begins with."""
    if in_tests(member.path):
        return
    hints = _HINTS.within(member.read(LARGEST))
    if hints:
        yield from _javascript(member.path, member.text(LARGEST), hints, installs=False)


def _javascript(path: str, text: str, hints: frozenset[bytes], *, installs: bool) -> Iterator[Found]:
    grave = Threat.CRITICAL if installs else Threat.HIGH
    match = _DECODED_RUN.search(text) if hints & _DECODERS else None
    if match is not None:
        yield _found(
            "exec-decoded", Ability.EXECUTE, grave, "Decoded text is run as code", path, text, match.start()
        )
    if _DECIPHERS in hints:
        yield from _decrypts(path, text)
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


def _decrypts(path: str, text: str) -> Iterator[Found]:
    places = list(islice(_DECIPHER.finditer(text), _DECIPHERED + 1))
    if not places or not _RUN.search(text):
        return
    # In a bundle of a hundred modules one decrypts and another evaluates.
    near = (
        places[0]
        if len(places) > _DECIPHERED
        else next((each for each in places if _runs_near(text, each)), None)
    )
    threat, place = (Threat.CRITICAL, near) if near is not None else (Threat.MEDIUM, places[0])
    yield _found("exec-decrypted", Ability.EXECUTE, threat, "It decrypts something and runs code",
                 path, text, place.start())  # fmt: skip


def _runs_near(text: str, decipher: re.Match[str]) -> bool:
    return _RUN.search(text, max(decipher.start() - _NEAR, 0), decipher.end() + _NEAR) is not None


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
        # Installers fetch, and hand a copy on to programs that they start: where that goes, `npm_code` follows.
        copies = collector is None and all(each[0].startswith("...") for each in _ENV_DUMP.finditer(text))
        threat = Threat.HIGH if copies else Threat.CRITICAL
        yield _found("environment-sent", Ability.SECRETS, threat, "It takes the environment and connects",
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
