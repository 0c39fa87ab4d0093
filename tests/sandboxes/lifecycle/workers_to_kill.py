"""Worker processes that a test kills, started within a moment.

    python -m tests.sandboxes.lifecycle.workers_to_kill HANDS SETTINGS

Loads everything once, and forks a worker for each line of its input, whose process number it
prints. A worker works as any other: its crew, and beside it what beat asks for. When this
process goes, they go. SETTINGS, as JSON, are those that the test has set.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "tests.sandboxes.lifecycle.workers_to_kill"


class Nursery:
    """Where they come from."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def worker(self) -> int:
        """Starts one; its process number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    @staticmethod
    def kill(number: int) -> None:
        os.kill(number, signal.SIGKILL)


@contextmanager
def nursery(hands: int, **settings: str) -> Iterator[Nursery]:
    """On this test's database, and with these settings."""
    from tests.sandboxes.lifecycle.processes import on_this_database

    process = subprocess.Popen(
        [sys.executable, "-m", NAME, str(hands), json.dumps(settings)],
        env=on_this_database(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Nursery(process)
        finally:
            process.kill()
            assert process.stdout is not None
            process.stdout.read()  # ends when the last of them has: each holds the other end


def main() -> None:
    import django

    django.setup()
    from django.conf import settings

    from sandboxes.lifecycle import specs
    from tests.sandboxes.lifecycle import whole_lives

    whole_lives.shorten_waits(setattr)
    for name, value in json.loads(sys.argv[2]).items():
        setattr(settings, name, value)
    specs.templates(), specs.canary_templates()  # read once, like the code
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    life, ours = os.pipe()  # held open by this process alone
    for _ in sys.stdin:
        number = os.fork()
        if number == 0:
            os.close(ours)
            _work(life, int(sys.argv[1]))
        print(number, flush=True)  # noqa: T201 -- the test reads it


def _work(life: int, hands: int) -> None:
    from sandboxes.lifecycle.crew import Crew
    from tests.sandboxes.lifecycle.beside import TASKS, do

    def end_with_the_nursery() -> None:
        os.read(life, 1)
        os._exit(1)

    threading.Thread(target=end_with_the_nursery, daemon=True).start()
    Crew(hands).start()
    while True:
        for task in TASKS:
            do(task)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
