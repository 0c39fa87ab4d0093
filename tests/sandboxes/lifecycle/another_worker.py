"""Another worker process, for tests of what two do to each other.

    python -m tests.sandboxes.lifecycle.another_worker claim|compete NUMBER

`claim` claims up to NUMBER due rows, prints them, and holds them until its input ends. `compete`
claims one at a time until there is none, and prints what it had.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "tests.sandboxes.lifecycle.another_worker"


@contextmanager
def another_worker(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """One that works on this test's database."""
    from tests.sandboxes.lifecycle.processes import on_this_database

    process = subprocess.Popen(
        [sys.executable, "-m", NAME, *arguments],
        env=on_this_database(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(number) for number in process.stdout.readline().split()]


def main() -> None:
    import django

    django.setup()
    from sandboxes.lifecycle import claims

    what, number = sys.argv[1], int(sys.argv[2])
    had: list[int] = []
    if what == "claim":
        had = [claim.sandbox_id for claim in claims.take(number)]
    else:
        claims.holder()
        sys.stdin.readline()  # until all are there
        while found := claims.take(1):
            had += [claim.sandbox_id for claim in found]
    print(*had, flush=True)  # noqa: T201 -- the test reads it
    sys.stdin.read()


if __name__ == "__main__":
    main()
