"""Runs inside the probe pod: does the seal hold? Standard library only, Python 3.8+.

A pod may start before its network works, and before its policies are
programmed, so neither "blocked" nor "open" is believed too early:

1. Wait until an allowed target opens. Before that, everything looks blocked.
2. Then every blocked target is tried twice, some time apart but without waiting
   for the first answer, and must be found blocked both times. One found open is
   tried anew at once, for about ten seconds in all; after that it counts as open.
3. The allowed targets must be open at the end.

A blocked target is waited for only briefly. That is safe because the control runs
this script too, from a pod that may reach everything (`PETRIDISH_PROBE_MODE=control`):
a target proves something only if it answered the control in a fraction of that time.

A refused connection counts as blocked: some network plugins reject instead of
dropping. Over UDP, a DNS query is sent and any answer to it counts as open. Results
go to the termination message (4096 bytes at most) and into the log, in the order of
the targets. The driver judges them; this script only says what it saw, and when.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

OPEN_SECONDS = 20.0  # until an allowed target must have opened
# Short ones first: a packet that a late policy dropped is not sent again before a second is over.
OPEN_WAITS = (0.25, 0.25, 0.5, 1.0, 1.5)
BLOCKED_SECONDS = 10.0
BLOCKED_WAIT = 0.6
BLOCKED_APART = 0.2
BLOCKED_PAUSE = 0.1  # between a try that was not blocked and the next two
LAST_SECONDS = 3.0
CONTROL_WAIT = 0.4
CONTROL_ROUNDS = 3
MAX_MESSAGE = 4000
PROXY = "egress-proxy"  # tried, but not waited for: a sandbox can do without it
REPORT_MARK = "petridish-probe "  # before the results in the log, where they can be read sooner
# Any DNS server answers this, if only that it will not.
LABELS = (b"kubernetes", b"default", b"svc", b"cluster", b"local")
QUESTION = b"".join(bytes([len(label)]) + label for label in LABELS)
QUERY = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION + b"\x00\x00\x01\x00\x01"
# Errors that say "nothing got through". Any other (no sockets left, say) proves nothing.
BLOCKED_ERRORS = {
    errno.EACCES,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EPERM,
    errno.ETIMEDOUT,
}


class Watch:
    """One target and what was last seen of it."""

    def __init__(self, name: str, host: str, port: int, protocol: str, expected: str) -> None:
        self.name, self.host, self.port = name, host, port
        self.protocol, self.expected = protocol, expected
        self.result, self.milliseconds, self.detail = "error", 0, "never tried"
        self.blocked_in_a_row = 0
        self.open_after: float | None = None

    def saw(self, attempt: Attempt, started: float) -> None:
        """Remember how a try went."""
        self.result, self.detail = attempt.result, attempt.detail
        self.milliseconds = int((attempt.end - attempt.begin) * 1000)
        self.blocked_in_a_row = self.blocked_in_a_row + 1 if self.result == "blocked" else 0
        if self.result == "open":
            self.open_after = attempt.end - started

    def line(self, longest: int = 60) -> list[Any]:
        """[result, milliseconds, detail]."""
        result, detail = self.result, self.detail
        if self.expected == "blocked" and result == "blocked":
            seen = "" if self.open_after is None else f"open until {self.open_after:.1f} s"
            if self.blocked_in_a_row < 2:
                result, detail = ("open", seen) if seen else ("error", "not blocked twice in a row")
            elif seen:
                detail = f"{seen}; {detail}"
        return [result, self.milliseconds, detail[:longest]]


class Attempt:
    """One try at one target, without waiting."""

    def __init__(self, watch: Watch, begin: float, seconds: float) -> None:
        self.watch, self.begin, self.end = watch, begin, begin + seconds
        self.result, self.detail = "", ""
        self.socket: socket.socket | None = None
        self.waiting: selectors.BaseSelector | None = None

    def open(self, waiting: selectors.BaseSelector) -> None:
        """Send the first packet."""
        watch, udp = self.watch, self.watch.protocol == "udp"
        family = socket.AF_INET6 if ":" in watch.host else socket.AF_INET
        self.begin, self.end = time.monotonic(), self.end - self.begin + time.monotonic()
        try:
            self.socket = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
            self.socket.setblocking(False)
            socket.inet_pton(family, watch.host)  # a name would be looked up, and that may take long
            code = self.socket.connect_ex((watch.host, watch.port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            if udp:
                self.socket.send(self.number() + QUERY)
            waiting.register(self.socket, selectors.EVENT_READ if udp else selectors.EVENT_WRITE, self)
            self.waiting = waiting
        except (OSError, ValueError, OverflowError) as error:
            self.fail(error)

    def ready(self) -> None:
        """Something came back."""
        assert self.socket is not None  # noqa: S101 -- it is registered
        try:
            if self.watch.protocol == "udp":
                if self.socket.recv(512)[:2] == self.number():
                    self.close("open", "answered")
                return
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            self.close("open", "connected")
        except OSError as error:
            self.fail(error)

    def number(self) -> bytes:
        """The query's number: an answer to anything else is none."""
        return (id(self) // 16 % 65536).to_bytes(2, "big")

    def fail(self, error: Exception) -> None:
        blocked = isinstance(error, OSError) and error.errno in BLOCKED_ERRORS
        self.close("blocked" if blocked else "error", str(error))

    def close(self, result: str, detail: str) -> None:
        self.result, self.detail, self.end = result, detail, time.monotonic()
        if self.waiting is not None and self.socket is not None:
            self.waiting.unregister(self.socket)
        if self.socket is not None:
            self.socket.close()


def settle(attempts: list[Attempt], after: Callable[[Attempt], list[Attempt]] = lambda _: []) -> None:
    """Make all these tries, each at its time, until the last has ended; `after` each there may be more."""
    left = list(attempts)
    with selectors.DefaultSelector() as waiting:
        while left:
            now = time.monotonic()
            for attempt in left:
                if not attempt.result and attempt.socket is None and attempt.begin <= now:
                    attempt.open(waiting)
                elif not attempt.result and attempt.socket is not None and attempt.end <= now:
                    attempt.close("blocked", "no answer")
            for attempt in [each for each in left if each.result]:
                left.remove(attempt)
                left += after(attempt)
            if left:
                soonest = min(each.begin if each.socket is None else each.end for each in left)
                for key, _ in waiting.select(max(0.0, soonest - time.monotonic())):
                    key.data.ready()


def attempt_all(watches: list[Watch], started: float, seconds: float) -> None:
    """Try every one of these once, at the same time."""
    now = time.monotonic()
    attempts = [Attempt(watch, now, seconds) for watch in watches]
    settle(attempts)
    for attempt in attempts:
        attempt.watch.saw(attempt, started)


def wait_for_open(watches: list[Watch], started: float, seconds: float, *, every: bool) -> None:
    """Until one of the targets is open (or one of each name), or patience ends."""
    begin, number = time.monotonic(), 0
    while True:
        known = {watch.name for watch in watches if watch.result == "open"}
        closed = [watch for watch in watches if watch.name not in known and watch.name != PROXY]
        wanted = closed if every else [] if known else closed
        if number and (not wanted or time.monotonic() - begin > seconds):
            return
        tried = time.monotonic()
        attempt_all(wanted if number else watches, started, OPEN_WAITS[min(number, len(OPEN_WAITS) - 1)])
        number += 1
        if not any(watch.result == "open" for watch in watches):  # refused at once: not in a tight loop
            time.sleep(max(0.0, 0.1 - (time.monotonic() - tried)))


def wait_for_blocked(watches: list[Watch], started: float) -> None:
    """Until each blocked target was blocked twice in a row, or patience ends."""
    last = time.monotonic() + BLOCKED_SECONDS
    pairs: dict[Watch, list[Attempt]] = {}

    def twice(watch: Watch, begin: float) -> list[Attempt]:
        """The second is sent before the first has its answer."""
        pairs[watch] = [Attempt(watch, begin + later, BLOCKED_WAIT) for later in (0.0, BLOCKED_APART)]
        return pairs[watch]

    def after(attempt: Attempt) -> list[Attempt]:
        watch = attempt.watch
        if attempt not in pairs[watch]:
            return []
        watch.saw(attempt, started)
        if attempt.result == "blocked" or time.monotonic() > last:
            return []
        others = [each for each in pairs[watch] if not each.result]
        fresh = twice(watch, time.monotonic() + BLOCKED_PAUSE)
        for other in others:  # sent too early to count
            other.close("blocked", "given up")
        return fresh

    now = time.monotonic()
    settle([attempt for watch in watches for attempt in twice(watch, now)], after)


def probe(watches: list[Watch]) -> None:
    """Try all targets as the module's docstring says."""
    allowed = [watch for watch in watches if watch.expected == "open"]
    started = time.monotonic()
    wait_for_open(allowed, started, OPEN_SECONDS, every=False)
    wait_for_blocked([watch for watch in watches if watch.expected != "open"], started)
    wait_for_open(allowed, started, LAST_SECONDS, every=True)


def control(watches: list[Watch]) -> None:
    """What answers somebody who may reach everything: nothing is tried again once it was open."""
    started = time.monotonic()
    wait_for_open(watches, started, OPEN_SECONDS, every=False)
    for _ in range(CONTROL_ROUNDS):
        silent = [watch for watch in watches if watch.result != "open"]
        if not silent:
            return
        attempt_all(silent, started, CONTROL_WAIT)


def message(watches: list[Watch], began: float) -> str:
    """The results, with details as long as there is room for."""
    text, at = "", [round(began, 3), round(time.time(), 3)]
    for longest in (60, 30, 15, 0):
        lines = [watch.line(longest) for watch in watches]
        text = json.dumps({"v": 2, "at": at, "attempts": lines}, separators=(",", ":"))
        if len(text) <= MAX_MESSAGE:
            break
    return text


def main() -> int:
    """Probe, and write down what was seen. The exit code says only that this worked."""
    began = time.time()
    watches = [Watch(*target) for target in json.loads(os.environ["PETRIDISH_PROBE_TARGETS"])]
    if os.environ.get("PETRIDISH_PROBE_MODE") == "control":
        control(watches)
    else:
        probe(watches)
    text = message(watches, began)
    print(REPORT_MARK + text, flush=True)  # noqa: T201 -- the pod's log
    with open(os.environ.get("PETRIDISH_PROBE_MESSAGE", "/dev/termination-log"), "w") as file:  # noqa: PTH123
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
