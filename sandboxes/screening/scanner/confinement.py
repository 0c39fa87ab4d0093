"""What a child may not do any more, from the moment it is ready. Its own code imposes it on itself.

It gets the files it scans as open handles, so it needs no file system but to load what Python loads late: code of
Python, of libraries and of ours. No program is started, nothing connected to, nothing written, nobody signalled; memory
and open files are bounded, no core is dumped. Each of these stands on a part of the kernel, and where one is missing
the others hold: `confine` says which is missing. Processor time is given anew for each file, so that a child whose
parent was killed in the middle of an endless loop ends as well.

A limit of processes (RLIMIT_NPROC) is not among them: it counts all that a user has, on the whole machine, and threads
with them, so what it would do depends on others.
"""

import ctypes
import resource
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sandboxes.screening import environment
from sandboxes.screening.scanner import landlock, system_calls

MEMORY: Final = 2 * 1024**3  # bytes of address space
_FILES: Final = 64
_NO_NEW_PRIVILEGES: Final = 38  # prctl(2)
_OURS: Final = Path(__file__).resolve().parents[2]
_SYSTEM: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
                  "/dev/null", "/dev/urandom")  # fmt: skip


def confine(memory: int = MEMORY) -> tuple[str, ...]:
    """Says in words what this system does not let it do; nothing is the rule."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES)
    _limit(resource.RLIMIT_AS, memory)
    steps: dict[str, Callable[[], None]] = {
        "programs could gain rights (no_new_privs)": _keep_rights,
        "all files can be read (Landlock)": lambda: landlock.allow_reading_only(_readable()),
        "programs, network and writing are not forbidden (seccomp)": system_calls.forbid,
    }
    return tuple(problem for what, step in steps.items() if (problem := _tried(what, step)))


def _tried(what: str, step: Callable[[], None]) -> str:
    try:
        step()
    except (OSError, AttributeError) as error:  # AttributeError: a C library without the function
        return f"{what}: {error}"
    return ""


def _keep_rights() -> None:
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError("not on this system")


def _readable() -> list[Path]:
    """Where code is, and the lists and rules of the admin. Not the folder that ours lies in: it may have secrets."""
    own = [Path(sysconfig.get_path(each)) for each in ("stdlib", "platstdlib", "purelib", "platlib")]
    base = Path(sys.base_prefix) / "lib"
    rules = environment.rules_folder()
    lists = environment.data_dir() / "popular"
    return [_OURS, *own, base, *map(Path, _SYSTEM), lists, *([rules] if rules else [])]


def give_time(seconds: int) -> None:
    """Of the processor, from now; then the system ends the process (SIGXCPU)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (_within(soft, most), most))


def _limit(what: int, value: int) -> None:
    """For good: the hard one too. One that is lower already stays."""
    _, most = resource.getrlimit(what)
    value = _within(value, most)
    resource.setrlimit(what, (value, value))


def _within(value: int, most: int) -> int:
    return value if most == resource.RLIM_INFINITY else min(value, most)
