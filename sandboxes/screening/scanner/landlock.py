"""Which files a process may read: Linux's Landlock (landlock(7)), through its three system calls.

By hand, since they are a stable and documented part of the kernel and need forty lines; the packages that wrap them
are young, and this is where a stranger's package must not become one of ours. What is open already stays open.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # numbers of system calls: the same on all architectures
_VERSION: Final = 1  # a flag: only tell the version
_BENEATH: Final = 1  # the kind of rule: a folder and all below it
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FIRST: Final = (1 << 13) - 1  # execute, write, read and all kinds of making and removing
_REFER, _TRUNCATE, _DEVICES = 1 << 13, 1 << 14, 1 << 15  # of versions 2, 3 and 5
_TCP: Final = 0b11  # bind and connect, of version 4
_SCOPES: Final = 0b11  # abstract Unix sockets and signals, of version 6


class _Handled(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def allow_reading_only(folders: Iterable[Path]) -> None:
    """For this thread and those it starts. Raises `OSError` where the kernel has none, or has it off."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    version = _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    handled = _handled(version)
    rules = _call(_CREATE, ctypes.byref(handled), ctypes.c_size_t(_size(version)), ctypes.c_uint32(0))
    try:
        for folder in folders:
            _allow(rules, folder)
        _call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)


def _handled(version: int) -> _Handled:
    """All that this kernel knows: what is not named is not forbidden."""
    files = _FIRST
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _DEVICES)):
        files |= right if version >= since else 0
    return _Handled(files, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)


def _size(version: int) -> int:
    """Older kernels know only the first of the fields."""
    return 24 if version >= 6 else 16 if version >= 4 else 8


def _allow(rules: int, folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # one that is not there needs no right
    try:
        rights = _READ_FILE | (_READ_FOLDER if folder.is_dir() else 0)
        rule = _Beneath(rights, handle)
        _call(_ADD, ctypes.c_int(rules), ctypes.c_int(_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    done: int = library.syscall(ctypes.c_long(number), *arguments)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done
