"""Code that goes for credentials, and credentials that were left in the package.

Names of credential files are counted by family (SSH, cloud, browsers, wallets, messengers…): a tool for one of them
knows one family, a thief knows many. Beside a connection, or a collector that anybody may have, it is a theft.
`import_time` tells of what is read and sent on an import; this also sees what lies in functions and other files.
Would have caught: ctx (environment to a Heroku address), W4SP and "Creal" stealers (browsers, wallets, Discord),
torchtriton (`/etc/passwd`, `.ssh`, `.gitconfig`), litellm 1.82.8 (all families), Shai-Hulud (npm and cloud tokens).
Costs: text searches, about a millisecond for a median wheel.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec.structs import replace

from sandboxes.lifecycle.bait_shape import AWS_PATTERN, PYPI_PATTERN, TAG_PATTERN, USER
from sandboxes.screening.detectors.judging import gravest
from sandboxes.screening.detectors.powers import COLLECTOR_HINTS, COLLECTORS, PLACES
from sandboxes.screening.detectors.reading_code import (
    Part,
    decoded,
    excerpt,
    in_tests,
    line_at,
    parts_at,
    sources,
)
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Member, Package

_READ: Final = 600_000  # bytes of a script or settings file
_MOST: Final = 12_000_000  # bytes of all of them
_SCRIPTS: Final = (".js", ".cjs", ".mjs", ".ts", ".sh", ".ps1", ".bat", ".cmd", ".vbs", ".rb", ".pl")
_SETTINGS: Final = (
    ".env",
    ".cfg",
    ".ini",
    ".yaml",
    ".yml",
    ".json",
    ".toml",
    ".pem",
    ".key",
    ".txt",
    ".pypirc",
    ".npmrc",
)
# Nearly no file gets past these. Lower case.
_HINTS: Final = (
    b".ssh", b"id_rsa", b"id_ed25519", b".aws", b".azure", b"gcloud", b"169.254", b"100.100.100", b".kube",
    b"serviceaccount", b".docker", b".npmrc", b".pypirc", b".cargo", b"git-credentials", b".gitconfig", b"netrc",
    b"login data", b"cookies.sqlite", b"key4", b"logins.json", b"local state", b"user data", b"wallet", b"exodus",
    b"electrum", b"metamask", b"local storage", b"tdata", b"/etc/shadow", b"_history", b"environ", b"process.env",
    b".oci", b"metadata.google", b"application_default", b"solana", b"keystore", b"nkbihf", b"bfnael", b"coinomi",
    b".gem", b"web data", b".vault-token",
)  # fmt: skip
_ENVIRONMENT: Final = (b"environ", b"process.env")
_FILE_HINTS: Final = tuple(each for each in _HINTS if each not in _ENVIRONMENT)
_GOING: Final = Words((*_HINTS, *COLLECTOR_HINTS), any_case=True)
_NETWORK: Final = re.compile(
    r"\burlopen\b|\burlretrieve\b|\brequests\.\w+\(|\bhttpx\.|\baiohttp\b|\bsocket\.\w+|\bHTTPS?Connection\b|\burllib3\b"
    r"|\bsmtplib\b|\bftplib\b|\bhttps?\.(?:get|request)\b|\bfetch\(|\baxios\b|\bXMLHttpRequest\b|\bcurl\b|\bwget\b"
    r"|\bWebSocket\b|invoke-webrequest|\bnet\.connect\b|\bdns\.(?:lookup|resolve)|\bparamiko\b|\bgot\.post\b",
    re.IGNORECASE,
)
_WHOLE: Final = re.compile(r"(?:os\.environ|process\.env)(?![\w.\[])")
_TAKEN: Final = re.compile(
    r"(?:(?:dict|str|repr|list|dumps|stringify|urlencode|entries|keys)\s*\(|(?:json|data|env)\s*[=:])\s*$"
)
# A program gets it to run in: `env=os.environ`.
_HANDED: Final = re.compile(r"\benv\s*=\s*$")
_LEFT: Final = (
    (
        "private key",
        re.compile(
            r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |PGP )?PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s){1,4}[\w+/=\\\s:,-]{100}"
        ),
    ),
    ("cloud key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    (
        "access token",
        re.compile(
            r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bglpat-[\w-]{20}\b|\bnpm_[A-Za-z0-9]{36}\b|\bpypi-AgE[\w-]{60,}"
        ),
    ),
    (
        "service key",
        re.compile(
            r"\bsk_live_[0-9a-zA-Z]{24,}\b|\bAIza[0-9A-Za-z_-]{35}\b|\bxox[baprs]-[0-9A-Za-z-]{20,}\b"
        ),
    ),
)
_LEFT_BEHIND: Final = Words((
    b"PRIVATE KEY-", b"AKIA", b"ASIA", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"glpat-", b"npm_", b"pypi-AgE",
    b"sk_live_", b"AIza", b"xoxb-", b"xoxa-", b"xoxp-", b"xoxr-", b"xoxs-",
))  # fmt: skip
_EXAMPLE: Final = re.compile(r"EXAMPLE|XXXX|0000000|1234567|abcdef", re.IGNORECASE)
# What we plant (`sandboxes.lifecycle.bait`), in whatever file, and however it looks around it.
_SEARCHED: Final = 8_000_000  # bytes of a member
_MOST_SEARCHED: Final = 100_000_000  # bytes of all of them
_BAIT: Final = Words(
    (b"AKIAPETRI0", b"pypi-PETRI0"),
    patterns={"user": USER + TAG_PATTERN, "place": rf"\/honey\/{TAG_PATTERN}"},
)
_BAITS: Final = tuple(
    re.compile(each)
    for each in (AWS_PATTERN, PYPI_PATTERN, rf"\b{USER}{TAG_PATTERN}\b", rf"/honey/{TAG_PATTERN}\b")
)
# What only a thief wants, whatever it says it is.
_OTHERS: Final = frozenset({"browser", "wallet", "messenger"})


def look(package: Package, former: Package | None) -> Iterator[Found]:
    found = [
        each
        for path, content, text in _texts(package)
        for each in _of_text(path, content, text, package.kind)
    ]
    found += _planted(package)
    yield from gravest((_in_a_page(each, package.kind) for each in found), most=3)


def _in_a_page(found: Found, kind: Kind) -> Found:
    """JavaScript of a package of Python's runs in a browser, which opens no files: names alone say less there."""
    page = kind is not Kind.NPM and found.path.lower().endswith((".js", ".mjs", ".cjs"))
    less = page and found.rule == "secrets.places" and found.threat is Threat.HIGH
    return replace(found, threat=Threat.MEDIUM) if less else found


def _texts(package: Package) -> Iterator[tuple[str, bytes, str | None]]:
    for source in sources(package).files:
        yield source.path, source.content, source.text
    left = _MOST
    for member in package.members:
        if _worth(member, package.kind) and member.size <= min(_READ, left):
            content = member.read(_READ)
            left -= len(content)
            yield member.path, content, None


def _worth(member: Member, kind: Kind) -> bool:
    path = member.path.lower()
    if path.endswith(_SCRIPTS):
        return True
    small = member.size < 20_000
    return small and (path.endswith(_SETTINGS) or "." not in path.rsplit("/", 1)[-1])


def _of_text(path: str, content: bytes, text: str | None, kind: Kind) -> Iterator[Found]:
    hints = _GOING.within(content)
    left = bool(_LEFT_BEHIND.within(content))
    if not (hints or left):
        return
    text = decoded(content) if text is None else text
    code = path.lower().endswith((".py", ".pyw", *_SCRIPTS))
    tests = in_tests(path, kind)
    if code and not tests:
        yield from _theft(path, text, hints)
    if left:
        yield from _left_behind(path, text, tests=tests)


def _planted(package: Package) -> Iterator[Found]:
    """Credentials that we planted in a sandbox: whoever made this package took them from there."""
    left = _MOST_SEARCHED
    for member in package.members:
        if member.size > min(_SEARCHED, left):
            continue
        content = member.read(_SEARCHED)
        left -= len(content)
        if not _BAIT.within(content):
            continue
        text = content.decode("latin-1")
        match = next((match for match in (each.search(text) for each in _BAITS) if match is not None), None)
        if match is not None:
            yield Found(
                rule="secrets.honeytoken",
                ability=Ability.SECRETS,
                threat=Threat.CRITICAL,
                why="It has a credential in it that was planted in one of our sandboxes.",
                path=member.path,
                line=line_at(text, match.start()),
                excerpt=excerpt(match[0][:12] + "…"),
            )


def _theft(path: str, text: str, hints: frozenset[bytes]) -> Iterator[Found]:
    places = _families(text, hints)
    collector = COLLECTORS.search(text) if not hints.isdisjoint(COLLECTOR_HINTS) else None
    dump = _dump(text) if not hints.isdisjoint(_ENVIRONMENT) else None
    if not (places or collector or dump):
        return
    connects = _NETWORK.search(text) is not None
    if collector is not None and (places or dump):
        yield _found(path, text, "collect-and-send", Ability.SECRETS, Threat.CRITICAL,
                     "It reads credentials or the environment, and names a place where anybody may collect",
                     collector.start())  # fmt: skip
    elif len(places) >= _thieves_count(places) and connects:
        yield _found(path, text, "collect-and-send", Ability.SECRETS, Threat.CRITICAL,
                     f"It names credentials of many kinds ({', '.join(sorted(places))}) and connects",
                     min(places.values()))  # fmt: skip
    elif len(places) >= 3 or len(places.keys() & _OTHERS) >= 2:
        yield _found(path, text, "places", Ability.SECRETS, Threat.HIGH,
                     f"It names credentials of many kinds ({', '.join(sorted(places))})",
                     min(places.values()))  # fmt: skip
    elif places.keys() & _OTHERS:
        threat = Threat.MEDIUM if connects else Threat.LOW
        yield _found(path, text, "places", Ability.SECRETS, threat,
                     f"It names what only its owner should read ({', '.join(sorted(places))})",
                     min(places.values()))  # fmt: skip
    if collector is not None and not places and not dump and not _is_prose(path, text):
        yield _found(path, text, "collector", Ability.NETWORK, _of_collector(collector[0], connects),
                     "It names a place where anybody may collect what is sent", collector.start())  # fmt: skip
    if dump is not None and connects and collector is None and not _HANDED.search(text[: dump.start()][-40:]):
        yield _found(path, text, "environment-dump", Ability.SECRETS, Threat.LOW,
                     "It takes the whole environment in a file that also connects", dump.start())  # fmt: skip


def _is_prose(path: str, text: str) -> bool:
    """Whether all the places that it names stand where no code reads them."""
    if not path.endswith(".py"):
        return False
    lines = {line_at(text, each.start()) for each in islice(COLLECTORS.finditer(text), _PLACES)}
    return len(lines) < _PLACES and parts_at(text, lines) == {Part.PROSE}


_PLACES: Final = 5  # that are looked at; more are told of


def _of_collector(text: str, connects: bool) -> Threat:
    if re.search(r"webhooks/\d", text):
        return Threat.HIGH
    return Threat.MEDIUM if connects else Threat.LOW


def _thieves_count(places: dict[str, int]) -> int:
    """Browsers, wallets and messengers together are enough by two; tools of clouds may know three families."""
    return 2 if len(places.keys() & _OTHERS) >= 2 else 3 if places.keys() & _OTHERS else 4


def _dump(text: str) -> re.Match[str] | None:
    """Where the whole environment is turned into something that can be sent."""
    for match in _WHOLE.finditer(text):
        if _TAKEN.search(text[max(0, match.start() - 40) : match.start()].removesuffix("dict(")):
            return match
    return None


def _families(text: str, hints: frozenset[bytes]) -> dict[str, int]:
    """Families of credential files that strings name, and where first."""
    if hints.isdisjoint(_FILE_HINTS):
        return {}
    lowered = text.lower()
    found: dict[str, int] = {}
    for hint in (each.decode() for each in _FILE_HINTS if each in hints):
        place = lowered.find(hint)
        for _ in range(_OCCURRENCES):
            if place < 0:
                break
            inner = _string_around(lowered, place)
            for family, pattern in PLACES.items():
                if family not in found and pattern.search(inner):
                    found[family] = place
            place = lowered.find(hint, place + len(hint))
    return found


def _string_around(text: str, place: int) -> str:
    """The string on one line that a place is in; empty if it is in none."""
    start = max(text.rfind("\n", 0, place) + 1, place - 300)
    end = text.find("\n", place)
    line = text[start : min(end if end >= 0 else len(text), place + 300)]
    for match in _STRING.finditer(line):
        if match.start() <= place - start < match.end():
            return match[0][1:-1].replace("\\\\", "/").replace("\\", "/")
    return ""


_OCCURRENCES: Final = 20  # of one hint that are looked at
_STRING: Final = re.compile(r"\"[^\"\n]{3,300}\"|'[^'\n]{3,300}'|`[^`\n]{3,300}`")


def _left_behind(path: str, text: str, *, tests: bool) -> Iterator[Found]:
    for what, pattern in _LEFT:
        match = pattern.search(text)
        if match is not None and not _EXAMPLE.search(match[0]):
            yield Found(
                rule="secrets.left-behind",
                ability=Ability.CONTENT,
                threat=Threat.LOW if tests else Threat.MEDIUM,
                why=f"What looks like a real {what} was left in it.",
                path=path,
                line=line_at(text, match.start()),
                excerpt=excerpt(match[0][:12] + "…"),  # no more of it is needed to find it
            )


def _found(path: str, text: str, rule: str, ability: Ability, threat: Threat, why: str, place: int) -> Found:
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    return Found(
        rule=f"secrets.{rule}",
        ability=ability,
        threat=threat,
        why=f"{why}.",
        path=path,
        line=line_at(text, place),
        excerpt=excerpt(text[start : end if end >= 0 else None], place - start),
    )
