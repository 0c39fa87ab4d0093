"""What works beside a test, in threads of this process: all of it has ended when its block ends, however it ends."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection

from sandboxes.errors import PetridishError
from sandboxes.lifecycle import claims, egress, engine, expiry, observing, orphans, quota
from sandboxes.lifecycle.crew import Crew

TASKS: Final[tuple[Callable[[], object], ...]] = (
    expiry.run, observing.observe_all, orphans.sweep, quota.admit, egress.end_due,
)  # fmt: skip
_END_WITHIN: Final = 90.0  # seconds: more than anybody's patience with a cluster that does not answer


@contextmanager
def at_work(hands: int) -> Iterator[Crew]:
    """A worker process's threads."""
    crew = Crew(hands)
    crew.start()
    try:
        yield crew
    finally:
        crew.rest(20)
        claims.leave()  # what a hand still has is not its own any more: it stops before its next step
        _see_them_end(crew._threads)


@contextmanager
def beat(every: float = 2.0) -> Iterator[Counter[str]]:
    """What else a worker is asked to do, again and again, mostly as often as in earnest; counts what was done."""
    done = Counter[str]()

    def work(stop: threading.Event) -> None:
        while not stop.wait(every):
            for task in TASKS:
                if not stop.is_set():
                    done[do(task)] += 1

    try:
        with again_and_again(work, "beat"):
            yield done
    finally:  # a look at a cluster that stalls is not waited for by whoever began it
        _see_them_end([each for each in threading.enumerate() if each.name.startswith("observe-")])
    assert {name.partition(" ")[0] for name in done} >= {_name(task) for task in TASKS}


@contextmanager
def always_at(number: int) -> Iterator[None]:
    """Somebody who works on this sandbox again and again, due or not."""

    def work(stop: threading.Event) -> None:
        while not stop.is_set():
            engine.reconcile(number)

    try:
        with again_and_again(work, "always-at"):
            yield
    finally:
        claims.leave()


@contextmanager
def again_and_again(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """In a thread, until the block ends: `work` looks at the event, and stops when it is set."""
    stop = threading.Event()

    def run() -> None:
        try:
            work(stop)
        finally:
            connection.close()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        _see_them_end([thread])


def _see_them_end(threads: list[threading.Thread]) -> None:
    """One that goes on would work on the next test's database."""
    for thread in threads:
        thread.join(_END_WITHIN)
    left = [thread.name for thread in threads if thread.is_alive()]
    assert not left, f"still at work: {left}"


def do(task: Callable[[], object]) -> str:
    """As the queue does it: a task that fails is only told of, and comes again."""
    try:
        task()
    except PetridishError:
        return f"{_name(task)} failed"
    return _name(task)


def _name(task: Callable[[], object]) -> str:
    return f"{task.__module__.rpartition('.')[2]}.{task.__name__}"
