"""What was done (`running.Event`), and where, becomes findings: the same act weighs more the earlier it happens.

What code does when it is installed, when Python starts or when it is imported, it does to everybody who has the
package. What a function does that nobody called yet is mostly what the package is for: alone it is nothing, and
only things that are bad together are told of.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sandboxes.screening.detectors.powers import COLLECTORS, FOREIGN_COMMAND, PLAIN_COMMAND, START_UP
from sandboxes.screening.detectors.reading_code import Source
from sandboxes.screening.detectors.run_state import Event
from sandboxes.screening.detectors.values import Origin
from sandboxes.screening.findings import Ability, Found, Threat

MOST: Final = 5  # findings of one rule in one package; the gravest


class When(StrEnum):
    """Also the first word of the rules."""

    START = "start-hook"
    INSTALL = "install-code"
    IMPORT = "import-time"
    RUN = "run-time"


_WORDS: Final = {
    When.START: "when Python starts",
    When.INSTALL: "when it is built or installed",
    When.IMPORT: "when it is imported",
    When.RUN: "in a function",
}
_LOW, _MEDIUM, _HIGH, _CRITICAL = Threat.LOW, Threat.MEDIUM, Threat.HIGH, Threat.CRITICAL
_ORDER: Final = [Threat.CRITICAL, Threat.HIGH, Threat.MEDIUM, Threat.LOW]
_LOCAL: Final = re.compile(r"^(?:localhost|127\.|::1|0\.0\.0\.0|https?://(?:localhost|127\.)|$)")
_DOMAIN: Final = re.compile(r"[\w{}-]\.[a-z][\w-]*(?:\.[a-z]{2,})|\{\}\.[\w-]+\.[a-z]{2,}", re.IGNORECASE)
FETCHING: Final = re.compile(
    r"(?:\bcurl\b|\bwget\b|\bcertutil\b|\bbitsadmin\b|\biwr\b|invoke-webrequest|downloadstring|downloadfile|\biex\b)"
    r".*(?:://|\||-o\b)|/dev/tcp/|\bmshta\b|-enc(?:odedcommand)?\s+\S|base64\s+(?:-d|--decode)|\bbash\s+-i\b"
    r"|\bnc\b.*-e|-w(?:indowstyle)?\s+hidden|\|\s*(?:ba|z)?sh\b",
    re.IGNORECASE | re.DOTALL,
)
_HOMES: Final = re.compile(r"^(?:/|~/?|/home/?|/root/?|[a-z]:[\\/]*|\$home/?)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Act:
    rule: str
    ability: Ability
    threat: Threat
    why: str
    line: int


def judge(events: Sequence[Event], when: When, source: Source) -> Iterator[Found]:
    """Of what one run of one file did."""
    seen: set[tuple[str, int]] = set()
    for act in (*_together(events, when), *(act for event in events for act in _alone(event, when))):
        if (act.rule, act.line) in seen or (when is When.RUN and act.threat is _LOW):
            continue
        seen.add((act.rule, act.line))
        prefix = "secrets" if act.rule == "collect-and-send" else str(when)
        yield Found(
            rule=f"{prefix}.{act.rule}",
            ability=act.ability,
            threat=act.threat,
            why=f"{act.why} {_WORDS[when]}.",
            path=source.path,
            line=act.line,
            excerpt=source.excerpt(act.line),
        )


def gravest(findings: Iterable[Found], most: int = MOST) -> list[Found]:
    """Of each rule the gravest few, so that one file's hundred places hide no other."""
    ordered = sorted(findings, key=lambda each: _ORDER.index(each.threat))
    counts: dict[str, int] = {}
    kept: list[Found] = []
    for each in ordered:
        counts[each.rule] = counts.get(each.rule, 0) + 1
        if counts[each.rule] <= most:
            kept.append(each)
    return kept


def _together(events: Sequence[Event], when: When) -> Iterator[_Act]:
    """Things that are bad one after the other."""
    download = next((each for each in events if _is_download(each)), None)
    if download is None:
        return
    late = when is When.RUN
    place = events.index(download)
    for each in events[place + 1 :]:
        if each.kind in ("process", "library", "execute") and _runs_something(each) and _is_saved(events):
            yield _Act(
                "download-and-run",
                Ability.EXECUTE,
                _HIGH if late else _CRITICAL,
                "It stores something it downloaded and then runs a program or code",
                each.line,
            )
            return
    runs = next((each for each in events if each.kind == "process" and not _is_plain(each)), None)
    if runs is not None and not late:
        yield _Act(
            "network-and-process", Ability.PROCESS, _HIGH, "It connects and also starts a program", runs.line
        )


def _is_download(event: Event) -> bool:
    return event.kind == "network" and "gethostby" not in event.name and "getaddrinfo" not in event.name


def _is_saved(events: Sequence[Event]) -> bool:
    return any(
        (each.kind == "write" and Origin.DOWNLOADED in each.origins)
        or each.name.endswith(("urlretrieve", "wget.download", "download_url_to_file"))
        for each in events
    )


def _runs_something(event: Event) -> bool:
    if event.kind == "execute":
        return event.name not in ("eval", "compile") and not event.constant
    return not _is_plain(event)


def _is_plain(event: Event) -> bool:
    """A command that only tells something, as far as it is known."""
    command = " ".join(event.texts)
    return bool(PLAIN_COMMAND.match(command)) and not FOREIGN_COMMAND.search(command)


def _alone(event: Event, when: When) -> Iterator[_Act]:
    if event.hidden and Origin.SPELLED in event.origins and event.kind in ("process", "network", "execute"):
        threat = _HIGH if when is When.RUN else _CRITICAL
        yield _Act(
            "hidden-name", Ability.EXECUTE, threat, f"The name {event.name} is put together", event.line
        )
    judged = _KINDS.get(event.kind)
    if judged is not None:
        yield from judged(event, when)


def _execute(event: Event, when: When) -> Iterator[_Act]:
    late = when is When.RUN
    if Origin.DOWNLOADED in event.origins:
        threat = _HIGH if late else _CRITICAL
        yield _Act("download-and-run", Ability.EXECUTE, threat, "Code that is downloaded runs", event.line)
    elif Origin.DECODED in event.origins or event.hidden:
        threat = (_HIGH if event.constant else _MEDIUM) if late else _CRITICAL
        yield _Act(
            "exec-decoded",
            Ability.EXECUTE,
            threat,
            f"Code that was encoded is run by {event.name}",
            event.line,
        )
    elif Origin.FILE in event.origins and not late and event.name in _RUN_TEXT:
        threat = _of_file(event, when)
        yield _Act(
            "exec-file", Ability.EXECUTE, threat, f"The content of a file is run by {event.name}", event.line
        )
    elif not event.constant and event.name != "compile":
        yield _Act(
            "exec",
            Ability.EXECUTE,
            _LOW,
            f"Code that is made up on the way is run by {event.name}",
            event.line,
        )


_RUN_TEXT: Final = ("exec", "eval", "execfile", "runpy.run_path")


def _of_file(event: Event, when: When) -> Threat:
    """An installation reads its version so; otherwise code stands in files that are read as code."""
    if not event.followed:
        return _HIGH
    if event.read_from.endswith(".py"):
        return _LOW
    return _MEDIUM if when is When.INSTALL else _HIGH


def _load(event: Event, when: When) -> Iterator[_Act]:
    if Origin.DOWNLOADED in event.origins:
        threat = _MEDIUM if when is When.RUN else _HIGH
        yield _Act(
            "load-download", Ability.EXECUTE, threat, "Downloaded bytes become objects or code", event.line
        )
    elif (Origin.DECODED in event.origins and event.constant) or (event.constant and event.texts):
        threat = _MEDIUM if when is When.RUN else _HIGH
        yield _Act(
            "load-literal", Ability.EXECUTE, threat, "Bytes in the text become objects or code", event.line
        )
    elif event.name.startswith("marshal"):
        yield _Act("load", Ability.EXECUTE, _LOW, "Bytes become code", event.line)


def _process(event: Event, when: When) -> Iterator[_Act]:
    late = when is When.RUN
    command = " ".join(event.texts)
    if Origin.DOWNLOADED in event.origins:
        threat = _MEDIUM if late else _CRITICAL
        yield _Act("download-and-run", Ability.EXECUTE, threat, "What was downloaded is run", event.line)
    elif event.hidden and Origin.SPELLED not in event.origins:
        threat = _HIGH if late else _CRITICAL
        yield _Act("process-hidden", Ability.PROCESS, threat, "Encoded code starts a program", event.line)
    elif Origin.DECODED in event.origins and event.constant:
        threat = _HIGH if late else _CRITICAL
        yield _Act(
            "process-hidden", Ability.PROCESS, threat, "A program of an encoded name is started", event.line
        )
    elif FETCHING.search(command):
        threat = _MEDIUM if late else _CRITICAL
        yield _Act(
            "process-fetching",
            Ability.PROCESS,
            threat,
            "A command fetches something or opens a shell",
            event.line,
        )
    elif FOREIGN_COMMAND.search(command):
        threat = _LOW if late else _MEDIUM if when is When.INSTALL else _HIGH
        yield _Act(
            "process-foreign", Ability.PROCESS, threat, "A command brings or changes other things", event.line
        )
    else:
        yield _Act("process", Ability.PROCESS, _plain_threat(event, when), "A program is started", event.line)


def _plain_threat(event: Event, when: When) -> Threat:
    if when is When.RUN or _is_plain(event):
        return _MEDIUM if when is When.START else _LOW
    if when is When.INSTALL:
        return _LOW
    return _CRITICAL if when is When.START else _MEDIUM


def _network(event: Event, when: When) -> Iterator[_Act]:
    late = when is When.RUN
    texts = [each for each in event.texts if each]
    stolen = event.origins & {Origin.ENVIRONMENT, Origin.CREDENTIALS}
    if stolen:
        threat = _HIGH if late else _CRITICAL
        what = "The environment" if Origin.ENVIRONMENT in stolen else "A file of credentials"
        yield _Act("collect-and-send", Ability.SECRETS, threat, f"{what} is read and sent", event.line)
    looked_up = "gethostby" in event.name or "getaddrinfo" in event.name
    if looked_up and not any(_DOMAIN.search(each) for each in texts):
        return
    if Origin.HOST in event.origins and not late:
        yield _Act("host-told", Ability.SECRETS, _CRITICAL, "Who and where this is, is sent", event.line)
    if any(COLLECTORS.search(each) for each in texts):
        threat = _MEDIUM if late else _CRITICAL
        yield _Act(
            "collector", Ability.NETWORK, threat, "It connects to where anybody may collect", event.line
        )
    if event.hidden or (Origin.DECODED in event.origins and event.constant):
        threat = _MEDIUM if late else _CRITICAL
        yield _Act("network-hidden", Ability.NETWORK, threat, "It connects to an encoded address", event.line)
    if texts and all(_LOCAL.match(each) for each in texts):
        return
    if Origin.VARIABLE in event.origins and not late:
        yield _Act("variable-sent", Ability.SECRETS, _HIGH, "A secret of the environment is sent", event.line)
    threats = {When.START: _CRITICAL, When.IMPORT: _HIGH, When.INSTALL: _MEDIUM, When.RUN: _LOW}
    threat = threats[when]
    if when is When.IMPORT and not texts:
        threat = _MEDIUM  # an address that nobody knows is mostly a reader's of files or addresses
    yield _Act("network", Ability.NETWORK, threat, "It connects", event.line)


def _library(event: Event, when: When) -> Iterator[_Act]:
    if Origin.DOWNLOADED in event.origins:
        yield _Act(
            "download-and-run", Ability.EXECUTE, _CRITICAL, "A downloaded library is loaded", event.line
        )


def _shellcode(event: Event, when: When) -> Iterator[_Act]:
    threat = _MEDIUM if when is When.RUN else _CRITICAL
    yield _Act("shellcode", Ability.NATIVE, threat, f"{event.name} makes memory of machine code", event.line)


def _secrets(event: Event, when: When) -> Iterator[_Act]:
    threat = _LOW if when is When.RUN else _HIGH
    yield _Act("secrets", Ability.SECRETS, threat, f"Secrets are read by {event.name}", event.line)


def _credentials(event: Event, when: When) -> Iterator[_Act]:
    threat = _LOW if when is When.RUN else _HIGH
    yield _Act("credentials", Ability.SECRETS, threat, "A file of credentials is opened", event.line)


def _write(event: Event, when: When) -> Iterator[_Act]:
    if any(START_UP.search(each.lower().replace("\\", "/")) for each in event.texts[:2]):
        threat = _MEDIUM if when in (When.RUN, When.INSTALL) else _CRITICAL
        yield _Act(
            "start-up-place",
            Ability.FILES,
            threat,
            "It writes where programs start from without a call",
            event.line,
        )


def _destroy(event: Event, when: When) -> Iterator[_Act]:
    if any(_HOMES.match(each) for each in event.texts):
        threat = _HIGH if when is When.RUN else _CRITICAL
        yield _Act("destroy", Ability.FILES, threat, "It deletes a home or everything", event.line)


def _registry(event: Event, when: When) -> Iterator[_Act]:
    threat = _LOW if when is When.RUN else _HIGH
    yield _Act("registry", Ability.FILES, threat, "It writes the registry", event.line)


_KINDS: Final = {
    "execute": _execute,
    "load": _load,
    "process": _process,
    "network": _network,
    "library": _library,
    "shellcode": _shellcode,
    "secrets": _secrets,
    "credentials": _credentials,
    "write": _write,
    "destroy": _destroy,
    "registry": _registry,
}
