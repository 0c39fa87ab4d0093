"""Runs inside the probe pod: does the seal hold? Standard library only, Python 3.8+.

A pod may start before its network works, and before its policies are
programmed, so neither "blocked" nor "open" is believed too early:

1. Wait until an allowed target opens. Before that, everything looks blocked.
2. Then every blocked target must be found blocked twice in a row. One found open
   is tried again, for about ten seconds in all; after that it counts as open.
3. The allowed target must still be open at the end.

A refused connection counts as blocked: some network plugins reject instead of
dropping. Results go to the termination message (4096 bytes at most), in the
order of the targets. The driver judges them; this script only says what it saw.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 1.5
OPEN_SECONDS = 20.0
BLOCKED_SECONDS = 10.0
# Errors that say "nothing got through". Any other (no sockets left, say) proves nothing.
BLOCKED_ERRORS = {
    errno.EACCES,
    errno.EADDRNOTAVAIL,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EPERM,
    errno.ETIMEDOUT,
}


class Watch:
    """One target and what was last seen of it."""

    def __init__(self, target: dict[str, Any]) -> None:
        self.target = target
        self.result, self.milliseconds, self.detail = "error", 0, "never tried"
        self.blocked_in_a_row = 0
        self.open_after: float | None = None

    def attempt(self, started: float) -> None:
        """Try once to connect; remember how it went."""
        begin = time.monotonic()
        self.result, self.detail = connect(self.target["host"], self.target["port"])
        self.milliseconds = int((time.monotonic() - begin) * 1000)
        self.blocked_in_a_row = self.blocked_in_a_row + 1 if self.result == "blocked" else 0
        if self.result == "open":
            self.open_after = time.monotonic() - started

    def line(self) -> list[Any]:
        """[result, milliseconds, detail], as short as the message needs."""
        if self.target["expected"] == "open" or self.result != "blocked":
            return [self.result, self.milliseconds, self.detail[:60]]
        if self.blocked_in_a_row < 2:
            return ["error", self.milliseconds, "not blocked twice in a row"]
        if self.open_after is not None:
            return ["blocked", self.milliseconds, f"{self.detail[:40]}; open until {self.open_after:.1f} s"]
        return ["blocked", self.milliseconds, self.detail[:60]]


def connect(host: str, port: int) -> tuple[str, str]:
    """("open" | "blocked" | "error", why)."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return "open", "connected"
    except socket.gaierror as error:
        return "error", f"no such name: {error}"
    except TimeoutError:
        return "blocked", "no answer"
    except OSError as error:
        # Before Python 3.10 a socket's time-out is an OSError of its own, without errno.
        blocked = error.errno in BLOCKED_ERRORS or str(error) == "timed out"
        return "blocked" if blocked else "error", str(error)
    except (ValueError, OverflowError) as error:
        return "error", str(error)


def attempt_all(pool: ThreadPoolExecutor, watches: list[Watch], started: float) -> None:
    """Try every one of these at the same time."""
    list(pool.map(lambda watch: watch.attempt(started), watches))


def wait_for_open(pool: ThreadPoolExecutor, watches: list[Watch], started: float) -> None:
    """Until any allowed target opens, or patience ends."""
    while True:
        attempt_all(pool, watches, started)
        if any(watch.result == "open" for watch in watches) or time.monotonic() - started > OPEN_SECONDS:
            return
        time.sleep(0.3)


def wait_for_blocked(pool: ThreadPoolExecutor, watches: list[Watch], started: float) -> None:
    """Until each blocked target was blocked twice in a row, or patience ends."""
    begin = time.monotonic()
    while True:
        pending = [watch for watch in watches if watch.blocked_in_a_row < 2]
        if not pending or time.monotonic() - begin > BLOCKED_SECONDS:
            return
        attempt_all(pool, pending, started)
        if any(watch.result != "blocked" for watch in pending):
            time.sleep(0.5)


def probe(targets: list[dict[str, Any]]) -> list[Watch]:
    """Try all targets as the module's docstring says."""
    watches = [Watch(target) for target in targets]
    allowed = [watch for watch in watches if watch.target["expected"] == "open"]
    blocked = [watch for watch in watches if watch.target["expected"] != "open"]
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=max(1, len(watches))) as pool:
        wait_for_open(pool, allowed, started)
        wait_for_blocked(pool, blocked, started)
        attempt_all(pool, allowed, started)
    return watches


def main() -> int:
    """Probe, and write down what was seen. The exit code says only that this worked."""
    watches = probe(json.loads(os.environ["PETRIDISH_PROBE_TARGETS"]))
    message = json.dumps({"v": 1, "attempts": [watch.line() for watch in watches]}, separators=(",", ":"))
    Path(os.environ.get("PETRIDISH_PROBE_MESSAGE", "/dev/termination-log")).write_text(message)
    return 0


if __name__ == "__main__":
    sys.exit(main())
