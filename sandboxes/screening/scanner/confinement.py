"""What a child may not do any more, from the moment it is ready. Its own code imposes it on itself.

No file is written, no core dumped, few are open; memory is bounded; no program that it started could gain
rights. Processor time is given anew for each file, so that a child whose parent was killed in the middle of
an endless loop ends as well.
"""

import ctypes
import resource
import sys
from contextlib import suppress
from typing import Final

MEMORY: Final = 2 * 1024**3  # bytes of address space
_FILES: Final = 64
_NO_NEW_PRIVILEGES: Final = 38  # prctl(2)


def confine(memory: int = MEMORY) -> None:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES)
    _limit(resource.RLIMIT_AS, memory)
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


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
