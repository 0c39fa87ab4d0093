"""What Python's `os` has no word for: locks that end with their process, space taken beforehand, durable names."""

import ctypes
import errno
import fcntl
import os
from pathlib import Path

from sandboxes.index.errors import UnavailableError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE: the file's length stays what was written, which is what followers go by


class FullError(Exception):
    """There is no room for these bytes on the disk."""


class GoneError(UnavailableError):
    """A stored file that was there a moment ago is gone: evicted, or removed. It can be fetched again."""

    def __init__(self) -> None:
        super().__init__("The file went from the index's storage just now; try again.")


def lock(descriptor: int) -> bool:
    """Takes the file for this process, until the descriptor is closed or the process ends; False: it is taken."""
    return _flock(descriptor, fcntl.LOCK_EX)


def is_locked(descriptor: int) -> bool:
    """Whether another holds the file. `descriptor` must be of an `open` of its own."""
    if not _flock(descriptor, fcntl.LOCK_SH):
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_space(descriptor: int, size: int) -> None:
    """Reserves a file's first `size` bytes on its disk. Raises `FullError`; does nothing where disks cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if fallocate is None or size <= 0:
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(descriptor, _KEEP_SIZE, 0, size) != 0 and ctypes.get_errno() in _FULL:
        raise FullError


def is_full(error: OSError) -> bool:
    return error.errno in _FULL


def sync_folder(folder: Path) -> None:
    """A new name is on the disk for good only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unavailable(error: OSError) -> UnavailableError:
    return UnavailableError(f"The index cannot store files: {error.strerror or type(error).__name__}.")
