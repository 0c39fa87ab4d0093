"""A child of the pool whose only detector does what a file's project asks: hang, eat memory, die.

`python -m tests.sandboxes.screening.scanner.hostile`; everything but the detector is the real child.
"""

import ctypes
import importlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
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


_FORGED = b'{"token":"0","report":{"version":1}}\n'


def _forge(times: int = 1) -> Iterator[Found]:
    """Answers by itself, as if nothing had been found."""
    for number in range(3, 64):
        try:
            os.write(number, _FORGED * times)
        except OSError:
            continue
    yield found("grave", Threat.CRITICAL)


def _forge_later() -> Iterator[Found]:
    """Once its own answer was read."""
    threading.Timer(0.3, lambda: list(_forge(2))).start()
    yield found("grave", Threat.CRITICAL)


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


def _tries() -> Iterator[Found]:
    """What a detector has no business to do: each told with how it went."""
    none, new = Path(__file__).with_name("none-such"), Path(__file__).with_name("hostile-was-here")
    for name, act in (
        ("write", lambda: new.write_text("x")),
        ("make a folder", new.mkdir),
        ("remove", none.unlink),
        ("rename", lambda: none.rename(new)),
        ("change rights", lambda: none.chmod(0o600)),
        ("cut", lambda: os.truncate(none, 0)),
        ("read", lambda: Path("/etc/passwd").read_text()),
        ("list", lambda: list(Path("/").iterdir())),
        ("connect", lambda: socket.create_connection(("127.0.0.1", 9), timeout=5)),
        ("send", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        ("pair", socket.socketpair),
        ("start", lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
        ("spawn", lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})),
        ("fork", lambda: os.fork() or os._exit(0)),
        ("become", lambda: os.execv(sys.executable, [sys.executable, "-c", ""])),  # noqa: S606
        ("signal", lambda: os.kill(os.getppid(), 0)),
        ("limit another", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE)),
        ("hide a file", lambda: os.memfd_create("x")),
        ("leave", lambda: os.unshare(os.CLONE_NEWUSER)),
    ):  # fmt: skip
        try:
            act()
        except OSError as error:
            yield found(name, why=error.strerror or "")
        else:
            yield found(name, why="done")


def _thread() -> Iterator[Found]:
    seen: list[int] = []
    thread = threading.Thread(target=seen.append, args=(1,))
    thread.start()
    thread.join()
    yield found(why=f"{seen}")


def _burn() -> Iterator[Found]:
    """A second and a half of the processor."""
    end = time.process_time() + 1.5
    while time.process_time() < end:
        pass
    yield found("burned")


def _pause() -> Iterator[Found]:
    """Stops, as a machine that is put to sleep does; whoever watches wakes it."""
    os.kill(os.getpid(), signal.SIGSTOP)
    yield found("paused")


def _environment() -> Iterator[Found]:
    yield found(why=" ".join(sorted(os.environ)))


def _status() -> Iterator[Found]:
    yield found(why=str(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)))  # PR_GET_NO_NEW_PRIVS


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
