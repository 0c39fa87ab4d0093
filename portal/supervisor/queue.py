"""Worker and beat as children: Celery, which touches a file once it is at work.

    python -m portal.supervisor.queue worker|beat READY_FILE

The default broker is a folder, over which a worker cannot be asked whether it
is there. Celery's own signals say when a worker consumes and when beat ticks.

Celery's command line is left out: it would have both load all of Django's pages
first, and beat needs none of Django to send a name every two seconds.
"""

import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from celery.signals import beat_init, worker_ready, worker_shutting_down
from django.conf import settings

from portal.celery import app

THREADS = 8  # for messages, which are short; sandboxes are worked on by the crew (`lifecycle.crew`)
_REST = 3.0  # seconds; the supervisor gives six


def run_worker() -> int:
    """Alone on its queue: it need not look for others, nor tell them that it lives."""
    # Every thread at work has a connection of the pool.
    options: dict[str, Any] = settings.DATABASES["default"]["OPTIONS"]  # type: ignore[assignment]
    options["pool"]["max_size"] = THREADS + settings.WORKER_HANDS + 4
    worker_shutting_down.connect(_rest, weak=False)
    worker = app.Worker(
        pool="threads",
        concurrency=THREADS,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
        loglevel="WARNING",
    )
    worker.start()
    return int(worker.exitcode or 0)


def _rest(**kwargs: Any) -> None:
    from sandboxes.lifecycle import crew  # Django is set up by now, which it was not above

    threading.Thread(target=crew.rest, args=(_REST,)).start()  # a signal's handler has no time for it


def run_beat(schedule: Path) -> int:
    from celery.beat import Service  # shelves and cron expressions: the worker has no use for them

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _leave)
    Service(app, schedule_filename=str(schedule)).start()
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)  # the service catches it, and writes its schedule down


def main() -> int:
    name, ready_file = sys.argv[1], Path(sys.argv[2])

    def at_work(**kwargs: Any) -> None:
        ready_file.touch()

    worker_ready.connect(at_work, weak=False)
    beat_init.connect(at_work, weak=False)
    return run_worker() if name == "worker" else run_beat(ready_file.with_name("beat-schedule"))


if __name__ == "__main__":
    sys.exit(main())
