"""The process that watches the clusters: `python -m sandboxes.lifecycle.watcher READY_FILE`.

    DJANGO_SETTINGS_MODULE=… python -m sandboxes.lifecycle.watcher READY_FILE

It only shortens waits: see `watches`. Ends with exit code 0 on SIGTERM.
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import django


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if len(sys.argv) != 2 or "DJANGO_SETTINGS_MODULE" not in os.environ:
        sys.stderr.write("Give the file to touch when at work, and DJANGO_SETTINGS_MODULE.\n")
        return 2
    stop = threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    django.setup()
    from sandboxes.lifecycle import watches  # its models need Django to be set up

    watches.run(stop, at_work=Path(sys.argv[1]).touch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
