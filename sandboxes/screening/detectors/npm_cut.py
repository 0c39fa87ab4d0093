"""What of an npm package's JavaScript is not followed, because it is too much, and how much that matters.

What an installation starts is nobody's choice, so more of it than is followed is rare in good packages. Of the rest
the words say it: what has none of these can do little, and what is searched for patterns is not unseen.
"""

from collections.abc import Iterator
from typing import Final

from sandboxes.screening.detectors.npm_files import searched
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Package

_LARGEST: Final = 16_000_000  # bytes of a file that are searched for words
_MOST: Final = 32_000_000  # bytes of all
_RISKY: Final = Words(
    (b"child_process", b"execSync", b"eval(", b"eval (", b"._compile", b"runInThis", b"runInNew", b"createDecipher",
     b"fromCharCode", b"atob(", b"base64", b"'hex'", b'"hex"', b"XMLHttpRequest", b"WebSocket", b"sendBeacon",
     b"mainModule", b"createRequire", b"._load(", b"getBuiltinModule", b"globalThis[", b"global[", b"process[",
     b"module["),
    patterns={
        "modules": r"['\x22](node:)?(https?|http2|net|dns|dgram|tls|vm|axios|got|node-fetch|undici|ws)['\x22]",
        "functions": r"\b(Function|fetch|spawn|spawnSync|constructor)\s*\(",
        "environment": r"process\.env[^.\w]",
        "computed": r"\brequire\s*\(\s*([^'\x22\s]|['\x22][^'\x22\n]{0,100}['\x22]\s*[^)\s])",
        "escaped": r"(\\x[4-7][0-9a-f]){3}|(\\u00[4-7][0-9a-f]){3}",
        "obfuscated": r"\b_0x[0-9a-f]{4,6}\b",
    },
)  # fmt: skip
_ORDER: Final = (Threat.LOW, Threat.MEDIUM, Threat.HIGH)


class Cut:
    """By one walk through a package."""

    def __init__(self, package: Package, *, installs: bool) -> None:
        self._package = package
        self._installs = installs
        self._left = _MOST
        self._threats: dict[str, Threat] = {}

    def add(self, path: str) -> None:
        if path not in self._threats:
            self._threats[path] = self._threat(path)

    def told(self) -> Iterator[Found]:
        if not self._threats:
            return
        worst = max(self._threats, key=lambda path: _ORDER.index(self._threats[path]))
        what = "that its installation runs, " if self._installs else ""
        yield Found(
            "npm.not-followed",
            Ability.INSTALL if self._installs else Ability.CONTENT,
            self._threats[worst],
            f"{len(self._threats)} files, or parts of them, {what}are too much to be followed.",
            worst,
        )

    def _threat(self, path: str) -> Threat:
        if self._installs:
            return Threat.HIGH
        seen = path in searched(self._package)
        if self._risky(path):
            return Threat.MEDIUM if seen else Threat.HIGH
        return Threat.LOW if seen else Threat.MEDIUM

    def _risky(self, path: str) -> bool:
        member = self._package.member(path)
        if member is None:
            return False
        if member.size > min(_LARGEST, self._left):
            return True
        self._left -= member.size
        return bool(_RISKY.within(member.read(_LARGEST)))
