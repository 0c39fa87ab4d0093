"""A child of the pool whose only detector does what a file's project asks: hang, eat memory, die.

`python -m tests.sandboxes.screening.scanner.hostile`; everything but the detector is the real child.
"""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Package
from sandboxes.screening.scanner.child import serve


def found(rule: str = "test", threat: Threat = Threat.LOW, excerpt: str = "", why: str = "why") -> Found:
    return Found(rule=rule, ability=Ability.CONTENT, threat=threat, why=why, excerpt=excerpt)


def _endless() -> Iterator[Found]:
    while True:
        pass


def _sleep() -> Iterator[Found]:
    time.sleep(3600)
    yield found()


def _die() -> Iterator[Found]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield found()


def _leave() -> Iterator[Found]:
    os._exit(7)


def _memory() -> Iterator[Found]:
    held = []
    while True:
        held.append(bytearray(64 * 1024 * 1024))


def _deep() -> Iterator[Found]:
    yield from _deep()


def _nonsense() -> Iterator[Found]:
    for number in range(3, 64):
        try:
            os.write(number, b"nonsense\n")
        except OSError:
            continue
    yield found()


def _endless_line() -> Iterator[Found]:
    for number in range(3, 64):
        try:
            os.write(number, b"x" * 20_000_000)
        except OSError:
            continue
    yield found()


def _print() -> Iterator[Found]:
    os.write(1, b'{"findings":[]}\n')
    yield found("printed")


def _write() -> Iterator[Found]:
    try:
        with Path("hostile-was-here").open("w") as file:
            file.write("x")
    except OSError as error:
        yield found(why=f"{error.strerror}")
    finally:
        Path("hostile-was-here").unlink(missing_ok=True)


def _environment() -> Iterator[Found]:
    yield found(why=" ".join(sorted(os.environ)))


def _status() -> Iterator[Found]:
    status = Path("/proc/self/status").read_text()
    yield found(why=next(line for line in status.splitlines() if line.startswith("NoNewPrivs")))


def _modules() -> Iterator[Found]:
    importlib.import_module("sandboxes.screening.scanner.__main__")  # and every real detector with it
    yield found(why=" ".join(sorted({name.partition(".")[0] for name in sys.modules})))


def _many() -> Iterator[Found]:
    """What matters comes last, behind thousands that do not."""
    for number in range(5000):
        yield found(f"noise-{number % 50}", why="noise", excerpt="x" * 1000)
    yield found("grave", Threat.CRITICAL)


def _fail_late() -> Iterator[Found]:
    yield found("before")
    raise KeyError("oops")


def _surrogates() -> Iterator[Found]:
    yield found(excerpt="\ud800\0 x", why="\udc80")


ACTS: dict[str, Callable[[], Iterator[Found]]] = {
    name.removeprefix("_").replace("_", "-"): act
    for name, act in list(globals().items())
    if name.startswith("_") and callable(act)
}


class Hostile:
    __name__ = "tests.hostile"

    def look(self, package: Package, former: Package | None) -> Iterator[Found]:
        act = ACTS.get(package.facts.project)
        if act is not None:
            yield from act()
        elif package.facts.project == "read":
            for member in package.members:
                yield found(member.path, why=member.text())
        elif package.facts.project == "swallow":
            for member in package.members:
                try:
                    member.read()
                except Exception:  # noqa: BLE001, S112  what a careless detector does
                    continue
        elif package.facts.project == "former" and former is not None:
            yield found(former.kind, why=former.facts.version)
            for member in former.members:
                yield found(member.path, why=member.text())


class Good:
    __name__ = "tests.good"

    def look(self, package: Package, former: Package | None) -> Iterator[Found]:
        yield found("good", why=str(len(list(package.members))))


if __name__ == "__main__":
    serve((Hostile(), Good()))
