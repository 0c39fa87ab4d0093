"""What an npm package's JavaScript does when it is installed and when it is required, by its syntax tree.

Followed are the files that its install scripts start, those that its `package.json` names as entry points, and what
these require of the package itself. Words that are put together, decoded or renamed do not hide a call from it, as
they do from the search for patterns in `npm_scripts`.
Would have caught: what that would have, and its evasions: flatmap-stream's names in hexadecimal (2018), eslint-scope
(2018), node-ipc's decoded address (2022), the second wave of Shai-Hulud (2025), plain-crypto-js (2026).
Costs: some 30 ms for each 100 kB of what is followed; nothing in wheels and sdists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from sandboxes.screening.detectors import npm_gyp
from sandboxes.screening.detectors.js_following import Call, Following
from sandboxes.screening.detectors.js_values import Taint, Taints
from sandboxes.screening.detectors.judging import FETCHING, gravest
from sandboxes.screening.detectors.npm_cut import Cut
from sandboxes.screening.detectors.npm_files import ENDINGS, is_shell, resolved, started_by
from sandboxes.screening.detectors.npm_manifest import commands, manifest
from sandboxes.screening.detectors.powers import COLLECTORS, FOREIGN_COMMAND
from sandboxes.screening.detectors.reading_code import excerpt
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Package

if TYPE_CHECKING:
    from tree_sitter import Parser

_LARGEST: Final = 400_000  # bytes of a file
# Of all that the installation runs, and again of all that is required:
_MOST: Final = 1_000_000  # bytes
_FILES: Final = 60
_STEPS: Final = 200_000  # nodes

_EXECUTE: Final = re.compile(
    r"^(?:eval|Function|vm\.(?:runIn\w+|Script|compileFunction)|module\._compile|module\.constructor\(\)\._compile"
    r"|module\.Module\(\)\._compile)$"
)
_PROCESS: Final = re.compile(
    r"^(?:child_process\.(?:exec|execSync|execFile|execFileSync|spawn|spawnSync|fork)|execa(?:\.\w+)?"
    r"|cross-spawn(?:\.\w+)?|shelljs\.exec|Bun\.spawn(?:Sync)?|process\.binding)$"
)
_NETWORK: Final = re.compile(
    r"^(?:https?|http2)\.(?:get|request|connect)(?:\(\)\.(?:write|end))?$|^fetch$|^(?:axios|got|node-fetch|request"
    r"|undici|needle|superagent|bent)(?:\.(?:get|post|put|request|fetch|default))?$"
    r"|^(?:net|tls)\.(?:connect|createConnection)(?:\(\)\.(?:write|end))?$|^dns\.(?:lookup|resolve\w*)$"
    r"|^(?:WebSocket|ws|socket\.io-client|XMLHttpRequest\(\)\.(?:open|send)|navigator\.sendBeacon)$"
    r"|^(?:net\.Socket|dgram\.createSocket)\(\)\.(?:connect|write|send)$"
)
_POWERFUL: Final = re.compile(r"^(?:child_process|https?|net|dns|vm|fs|os|tls)$")
_LOOK_UP: Final = re.compile(r"\b(?:nslookup|dig|host|ping|curl|wget)\b")
_STOLEN: Final = {
    Taint.ENVIRONMENT: ("environment-sent", "The environment is sent"),
    Taint.CREDENTIALS: ("credentials-sent", "A file of credentials is sent"),
    Taint.HOST: ("host-told", "Who and where this is, is sent"),
}
_LOW, _MEDIUM, _HIGH, _CRITICAL = Threat.LOW, Threat.MEDIUM, Threat.HIGH, Threat.CRITICAL


def look(package: Package, former: Package | None) -> Iterator[Found]:
    if package.kind is not Kind.NPM:
        return
    # Apart, because what only an installation does may count less: of a file that both reach, both are told.
    installed = _Walk(package, installs=True).found(_started(package))
    yield from gravest(replace(each, installs=True) for each in installed)
    entries = dict.fromkeys(_entries(manifest(package).said))
    found = (resolved(package, name, runs=runs) for name, runs in entries)
    yield from gravest(_Walk(package, installs=False).found(path for path in found if path is not None))


class _Walk:
    """From what is started first through what that requires of the package."""

    def __init__(self, package: Package, *, installs: bool) -> None:
        self.package = package
        self.installs = installs
        self.done: set[str] = set()
        self.files, self.bytes, self.steps = _FILES, _MOST, _STEPS
        self.cut = Cut(package, installs=installs)

    def found(self, paths: Iterator[str]) -> Iterator[Found]:
        waiting = list(paths)
        while waiting:
            path = waiting.pop(0)
            if path in self.done:
                continue
            self.done.add(path)
            data = self._read(path)
            if data is None:
                continue
            following = Following(_parser().parse(data).root_node, self.steps)
            self.steps = max(following.left, 0)
            if following.cut:
                self.cut.add(path)
            yield from _judged(path, data, following, installs=self.installs)
            folder = PurePosixPath(path).parent
            named = (resolved(self.package, str(folder / name)) for name in following.required)
            waiting += [each for each in named if each is not None and each not in self.done]
        yield from self.cut.told()

    def _read(self, path: str) -> bytes | None:
        member = self.package.member(path)
        if member is None or (not path.endswith(ENDINGS) and is_shell(self.package, path)):
            return None
        if member.size > min(_LARGEST, self.bytes) or self.steps <= 0 or self.files <= 0:
            self.cut.add(path)
            return None
        self.files -= 1
        self.bytes -= member.size
        return member.read(_LARGEST)


def _started(package: Package) -> Iterator[str]:
    for _, command in commands(package):
        yield from started_by(package, command)
    for built in npm_gyp.commands(package):
        if isinstance(built, npm_gyp.Command):
            yield from started_by(package, built.text)


def _entries(said: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Names, and whether Node takes them for JavaScript whatever they are called."""
    for key in ("main", "module", "exports", "browser", "bin"):
        for name in _names_in(said.get(key), 0):
            yield name, key == "main"
    yield "index.js", False


def _names_in(said: object, depth: int) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, dict) and depth < 8:
        for each in list(said.values())[:200]:
            yield from _names_in(each, depth + 1)
    elif isinstance(said, list) and depth < 8:
        for each in said[:50]:
            yield from _names_in(each, depth + 1)


@lru_cache(maxsize=1)
def _parser() -> Parser:
    import tree_sitter_javascript
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_javascript.language()))


# ---- what is bad about a call


def _judged(path: str, data: bytes, following: Following, *, installs: bool) -> Iterator[Found]:
    at_load = following.at_load()
    lines = data.split(b"\n")
    for call in following.calls:
        early = call.owner in at_load
        for rule, ability, threat, why in _acts(call, early=early, installs=installs and early):
            words = lines[call.line - 1][:2000].decode("utf-8", "replace") if call.line <= len(lines) else ""
            place = max(words.find(call.name.rpartition(".")[2]), 0)
            yield Found(f"npm.{rule}", ability, threat, f"{why}.", path, call.line, excerpt(words, place))


type _Act = tuple[str, Ability, Threat, str]


def _acts(call: Call, *, early: bool, installs: bool) -> Iterator[_Act]:
    when = "when it is installed" if installs else "when it is required" if early else "in a function"
    given = frozenset(taint for each in call.arguments for taint in each.given)
    if _EXECUTE.match(call.name) or (call.name in ("setTimeout", "setInterval") and call.arguments[:1]):
        told = given if _EXECUTE.match(call.name) else call.arguments[0].given
        yield from _executes(told, when, early=early, installs=installs)
    if call.name == "require" and call.arguments:
        first = call.arguments[0]
        hides = first.taints & {Taint.SPELLED, Taint.DECODED}
        if hides and _POWERFUL.match((first.text or "").removeprefix("node:")):
            yield _hidden(f"the module {first.text}", hides, when, early=early, installs=installs)
    elif (hides := call.taints & {Taint.SPELLED, Taint.DECODED}) and (
        _EXECUTE.match(call.name) or _PROCESS.match(call.name)
    ):
        yield _hidden(call.name, hides, when, early=early, installs=installs)
    if _PROCESS.match(call.name):
        yield from _processes(call, given, when, early=early, installs=installs)
    elif _NETWORK.match(call.name):
        yield from _connects(call, given | call.taints, when, early=early)


def _executes(given: Taints, when: str, *, early: bool, installs: bool) -> Iterator[_Act]:
    if Taint.DOWNLOADED in given:
        threat = _CRITICAL if early else _MEDIUM
        yield "download-and-run", Ability.EXECUTE, threat, f"Code that is downloaded runs {when}"
    elif Taint.DECODED in given:
        threat = _CRITICAL if installs else _HIGH if early else _MEDIUM
        yield "exec-decoded", Ability.EXECUTE, threat, f"Code that was encoded runs {when}"


def _hidden(what: str, hides: Taints, when: str, *, early: bool, installs: bool) -> _Act:
    grave = Taint.DECODED in hides
    threat = (_CRITICAL if grave else _HIGH) if installs else _HIGH if early and grave else _MEDIUM
    return "hidden-name", Ability.EXECUTE, threat, f"The name of {what} is put together {when}"


def _processes(call: Call, given: Taints, when: str, *, early: bool, installs: bool) -> Iterator[_Act]:
    texts = [each.text for argument in call.arguments[:2] for each in (argument, *(argument.items or ()))]
    command = " ".join(text for text in texts if text)
    if Taint.DOWNLOADED in given:
        threat = _CRITICAL if early else _MEDIUM
        yield "download-and-run", Ability.EXECUTE, threat, f"What was downloaded is run {when}"
    stolen = frozenset(taint for each in call.arguments[:2] for taint in each.taints) & frozenset(_STOLEN)
    if stolen and _LOOK_UP.search(command):
        rule, why = _STOLEN[min(stolen)]
        yield rule, Ability.SECRETS, _CRITICAL if early else _HIGH, f"{why} by a program {when}"
    if FETCHING.search(command) or COLLECTORS.search(command) or (early and _LATE_FETCH.search(command)):
        threat = _CRITICAL if early else _MEDIUM
        yield (
            "process-fetching",
            Ability.PROCESS,
            threat,
            f"A command fetches something or opens a shell {when}",
        )
    elif FOREIGN_COMMAND.search(command):
        threat = _HIGH if early else _LOW
        yield "process-foreign", Ability.PROCESS, threat, f"A command brings or changes other things {when}"
    elif installs:
        yield "process", Ability.PROCESS, _MEDIUM, f"A program is started {when}"


# Another interpreter that is given a program that fetches.
_LATE_FETCH: Final = re.compile(r"\b(?:python3?|perl|ruby|php|deno|bun)\b.*-[cer]\b.*https?://", re.DOTALL)


def _connects(call: Call, given: Taints, when: str, *, early: bool) -> Iterator[_Act]:
    texts = " ".join(each.text for each in call.arguments if each.text)
    stolen = given & frozenset(_STOLEN)
    if stolen - ({Taint.HOST} if not early else frozenset()):
        rule, why = _STOLEN[next(taint for taint in _STOLEN if taint in stolen)]
        yield rule, Ability.SECRETS, _CRITICAL if early else _HIGH, f"{why} {when}"
    if Taint.DECODED in (call.arguments[0].taints if call.arguments else frozenset()) and texts:
        threat = _CRITICAL if early else _MEDIUM
        yield "network-hidden", Ability.NETWORK, threat, f"It connects to an encoded address {when}"
    if COLLECTORS.search(texts):
        threat = _CRITICAL if early else _MEDIUM
        yield "collector", Ability.NETWORK, threat, f"It connects to where anybody may collect {when}"
    if early and texts.startswith(("http", "ws")):
        yield "connects", Ability.NETWORK, _MEDIUM, f"It connects {when}"
