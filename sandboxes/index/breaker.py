"""A circuit breaker: an origin that failed several times in a row is left alone for a while.

Without it every client waits out the timeouts of an upstream that is down, although the answer
(an old page, or a reason) is at hand. When the pause is over one request goes through as a probe;
the others are still refused until it has ended. Each failed probe doubles the pause. What one answer
says or asks for (Retry-After) may be meant for one project or file only, so the same one counts once however
often it is asked for, and its wish makes the pause longer only once there is one. Pure but for the clock.
"""

from collections.abc import Callable
from time import monotonic

FAILURES = 3  # requests in a row, each with its retries
PAUSE = 5.0  # seconds
LONGEST_PAUSE = 60.0  # seconds, whatever the origin asks for


class Breaker:
    """One origin's. A request asks `enter`; if it may go, it must end with `succeeded`, `failed` or `left`."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._last = ""  # what the last failure was of
        self._pause = PAUSE
        self._closed_until = 0.0  # to requests; 0.0: not
        self._probing = False

    def enter(self) -> bool:
        """Whether a request may go now."""
        if not self._closed_until:
            return True
        if self._probing or self._clock() < self._closed_until:
            return False
        self._probing = True
        return True

    @property
    def probing(self) -> bool:
        """Whether the request under way is a probe: it is not to be tried again by itself."""
        return self._probing

    def succeeded(self) -> None:
        self._failures, self._last, self._pause = 0, "", PAUSE
        self._closed_until, self._probing = 0.0, False

    def failed(self, rest: float = 0.0, of: str = "") -> None:
        """`rest`: how many seconds the origin itself asked to be left alone (Retry-After).

        `of`: the one thing that it answered so about, "" if it did not answer.
        """
        if not of or of != self._last:
            self._failures += 1
        self._last = of
        if self._probing:
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        if self._probing or self._failures >= FAILURES:
            self._closed_until = self._clock() + max(self._pause, min(rest, LONGEST_PAUSE))
        self._probing = False

    def left(self) -> None:
        """The request ended without saying anything of the origin, as when its client hung up."""
        self._probing = False
