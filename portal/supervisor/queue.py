"""Worker and beat as children: Celery, which touches a file once it is at work.

    python -m portal.supervisor.queue READY_FILE worker|beat ARGUMENT…

The default broker is a folder, over which a worker cannot be asked whether it
is there. Celery's own signals say when a worker consumes and when beat ticks.
"""

import sys
from pathlib import Path
from typing import Any

from celery.signals import beat_init, worker_ready

from portal.celery import app


def main() -> None:
    ready_file = Path(sys.argv[1])

    def at_work(**kwargs: Any) -> None:
        ready_file.touch()

    worker_ready.connect(at_work, weak=False)
    beat_init.connect(at_work, weak=False)
    app.start(argv=sys.argv[2:])


if __name__ == "__main__":
    main()
