"""One supervisor for each data folder, and nothing left of the one before."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from portal import private
from portal.supervisor import leash
from sandboxes.errors import PermanentError


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system takes back however this process ends."""
    with (private.folder(data_dir / "run") / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise PermanentError(
                f"Petridish already runs on {data_dir} (process {file.read()}); stop it or set DATA_DIR."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def note_children(data_dir: Path, pids: list[int]) -> None:
    private.write(data_dir / "run" / "children", json.dumps(pids))


def end_leftovers(data_dir: Path) -> None:
    """Children of a supervisor that was killed are on their way out (see leash.py): waits, then makes sure."""
    try:
        pids: list[int] = json.loads((data_dir / "run" / "children").read_text())
    except (FileNotFoundError, ValueError):
        return
    deadline = time.monotonic() + leash.GRACE + 1
    while (left := [process for pid in pids if (process := _child(pid))]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        process.kill()


def _child(pid: int) -> psutil.Process | None:
    """The process of that number if it is a child of ours: numbers are given again to others."""
    try:
        process = psutil.Process(pid)
        ours = leash.__name__ in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return process if ours else None
