"""The threads of a worker process that work on sandboxes.

One leads: it claims what is due for as many hands as are free and gives it to them; a hand
that is done makes it look again. It looks when it is told that there may be work (a hint, a
sweep), and every second by itself, so that what a dead worker held is taken over without
any message.

No cluster may have more than its share of the hands, so that one which lets every request
hang for half a minute cannot keep all of them: its sandboxes wait, and nobody else's.
"""

import logging
import threading
import time
from queue import SimpleQueue
from typing import Final

from django.conf import settings
from django.db import close_old_connections, connection

from sandboxes.lifecycle import claims, engine, restore
from sandboxes.lifecycle.claims import Claim
from sandboxes.lifecycle.models import RegisteredCluster

logger = logging.getLogger(__name__)
_LOOK_EVERY: Final = 1.0  # seconds


class Crew:
    """`hands` threads and one that leads; daemons, because a step may be cut off at any line."""

    def __init__(self, hands: int) -> None:
        self.hands = hands
        self._work: SimpleQueue[Claim | None] = SimpleQueue()
        self._free = hands
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._resting = False
        self._threads = [threading.Thread(target=self._lead, name="crew-lead", daemon=True)]
        self._threads += [
            threading.Thread(target=self._hand, name=f"crew-{number}", daemon=True) for number in range(hands)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._news.set()

    def rest(self, seconds: float) -> None:
        """Takes nothing new, and waits that long for what is being done."""
        self._resting = True
        self._news.set()
        until = time.monotonic() + seconds
        while self._busy() and time.monotonic() < until:
            time.sleep(0.02)
        for _ in range(self.hands):
            self._work.put(None)
        self._threads[0].join(max(0.0, until - time.monotonic()))

    def _busy(self) -> bool:
        return self._free < self.hands

    def _lead(self) -> None:
        while not self._resting:
            self._news.wait(_LOOK_EVERY)
            self._news.clear()
            try:
                # Before anything else, each time: an old row of a restored database may ask for a deletion.
                restore.check()
                self._hand_out()
            except Exception:
                logger.exception("Looking for work failed; it is tried again.")
                time.sleep(_LOOK_EVERY)
            finally:
                connection.close()

    def _hand_out(self) -> None:
        """As long as there is a free hand and something for it."""
        while not self._resting and (free := self._free):
            found = claims.take(free, lane=self._lane())
            for claim in found:
                with self._lock:
                    self._free -= 1
                self._work.put(claim)
            if len(found) < free:
                return

    def _lane(self) -> int:
        """How many hands one cluster may have: all of them if it is the only one."""
        return max(1, self.hands // max(1, RegisteredCluster.objects.count()))

    def _hand(self) -> None:
        while (claim := self._work.get()) is not None:
            close_old_connections()
            try:
                engine.work(claim)
            except Exception:  # the database, for a step's own failures are in its row
                logger.exception("Sandbox %s: the work on it broke off.", claim.sandbox_id)
            finally:
                connection.close()  # gives it back to the pool
                with self._lock:
                    self._free += 1
                self._news.set()
        connection.close()


_crew: Crew | None = None
_crew_lock = threading.Lock()


def wake() -> None:
    """Has this process's crew look for work; the first call starts it."""
    global _crew  # noqa: PLW0603 -- one for each process
    with _crew_lock:
        if _crew is None:
            _crew = Crew(settings.WORKER_HANDS)
            _crew.start()
    _crew.wake()


def rest(seconds: float) -> None:
    """Before this process ends: what is being done is finished if it does not take long."""
    global _crew
    with _crew_lock:
        resting, _crew = _crew, None
    if resting is not None:
        resting.rest(seconds)
    claims.leave()
