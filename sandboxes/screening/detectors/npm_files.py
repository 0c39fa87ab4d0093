"""Which file of an npm package a name leads to, as Node looks for it."""

import re
from typing import Final

from sandboxes.screening.detectors.npm_commands import started
from sandboxes.screening.detectors.npm_manifest import manifest
from sandboxes.screening.detectors.reading_code import once
from sandboxes.screening.package import Package

LARGEST: Final = 3_000_000  # bytes of a file that is searched
_MOST: Final = 16_000_000  # bytes of all
ENDINGS: Final = (".js", ".cjs", ".mjs")
_TRIED: Final = ("", ".js", ".cjs", ".mjs", ".ts", "/index.js", "/index.cjs", "/index.mjs")
_DATA: Final = (".json", ".node", ".wasm")
_NODE: Final = re.compile(rb"#!.{0,60}\b(?:node|bun|deno|tsx)\b")
_SHELL: Final = re.compile(rb"#!.{0,60}\b(?:ba|da|z|k)?sh\b")
_SHELLS: Final = (".sh", ".bash", ".bat", ".cmd", ".ps1")


def resolved(package: Package, name: str, *, runs: bool = True) -> str | None:
    """`runs`: Node is given it. What is not data then is JavaScript to it, whatever it is called."""
    plain = normal(name)
    for ending in _TRIED:
        path = f"{plain}{ending}" if plain else ending.removeprefix("/")
        if not path or package.member(path) is None:
            continue
        if path.endswith(ENDINGS) or (runs and not path.endswith(_DATA)) or _begins(package, path, _NODE):
            return path
    return None


def started_by(package: Package, command: str) -> list[str]:
    """Paths of the package's files that a command starts."""
    names = started(command)
    if any(not normal(name) for name in names):  # `node .`
        names.append(str(manifest(package).said.get("main") or ""))
    found = (resolved(package, name) for name in names)
    return [path for path in dict.fromkeys(found) if path is not None]


def is_shell(package: Package, path: str) -> bool:
    return path.lower().endswith(_SHELLS) or _begins(package, path, _SHELL)


def is_script(package: Package, path: str) -> bool:
    return path.lower().endswith((*ENDINGS, ".ts")) or _begins(package, path, _NODE)


def _begins(package: Package, path: str, pattern: re.Pattern[bytes]) -> bool:
    member = package.member(path)
    return member is not None and pattern.match(member.read(100)) is not None


def normal(name: str) -> str:
    parts: list[str] = []
    for part in name[:1000].split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)


def searched(package: Package) -> frozenset[str]:
    """JavaScript that is searched for patterns; the rest is too much."""
    return once(package, "npm searched", lambda: _searched(package))


def _searched(package: Package) -> frozenset[str]:
    """The smallest first: what is put before something to hide it has to be small as well, and much."""
    left = _MOST
    found = set()
    members = (each for each in package.members if each.path.lower().endswith(ENDINGS))
    for member in sorted(members, key=lambda each: each.size):
        if member.size > min(LARGEST, left):
            break
        left -= member.size
        found.add(member.path)
    return frozenset(found)
