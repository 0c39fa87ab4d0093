"""What confinement does, part by part: each holds without the others."""

import errno
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandboxes.screening.scanner import confinement, system_calls

ROOT = Path(__file__).resolve().parents[4]
USED_UP = """
from sandboxes.screening.scanner.confinement import confine, give_time
confine()
give_time(0)
while True: pass
"""
GIVEN_ANEW = """
import time
from sandboxes.screening.scanner.confinement import confine, give_time
confine()
for _ in range(4):
    give_time(1)
    end = time.process_time() + 0.7
    while time.process_time() < end: pass
print("still here")
"""
EACH = """
import os, socket
from pathlib import Path
from sandboxes.screening.scanner import confinement, landlock, system_calls
confinement._keep_rights()
PART
for act in (
    lambda: Path("FILE").write_text("x"), lambda: Path("FILE").read_text(), lambda: os.unlink("FILE"),
    lambda: socket.create_connection(("127.0.0.1", 9), timeout=5), lambda: os.kill(os.getppid(), 0),
    lambda: os.posix_spawn("/bin/true", ["true"], {}), lambda: os.open(os.devnull, os.O_RDONLY),
):
    try:
        act()
    except OSError as error:
        print(error.errno)
    else:
        print("done")
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_who_uses_it_up_is_ended_by_the_system_though_nobody_watches() -> None:
    assert _run(USED_UP).returncode == -signal.SIGXCPU


def test_it_is_counted_from_the_last_time_that_some_was_given() -> None:
    assert _run(GIVEN_ANEW).stdout == "still here\n"


def _went(part: str, file: Path) -> list[str]:
    file.write_text("text")
    done = _run(EACH.replace("PART", part).replace("FILE", str(file)))
    if "OSError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.stderr == ""
    return done.stdout.split()


def test_system_calls_alone(tmp_path: Path) -> None:
    refused = str(errno.EPERM)
    write, read, remove, connect, signal_, start, null = _went("system_calls.forbid()", tmp_path / "x")

    assert {write, remove, connect, signal_, start} == {refused}
    assert (read, null) == ("done", "done")


def test_files_alone(tmp_path: Path) -> None:
    """Signals and connections too, where the kernel's Landlock is new enough (versions 4 and 6)."""
    write, read, remove, connect, _, start, null = _went(
        "landlock.allow_reading_only([Path(os.devnull)])", tmp_path / "x"
    )

    assert {write, read, remove, start} == {str(errno.EACCES)}
    assert connect != "done"
    assert null == "done"


def test_what_is_not_to_be_had_is_named_and_the_rest_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    assert confinement._tried("programs are not forbidden", none) == (
        "programs are not forbidden: [Errno 38] Function not implemented"
    )
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "not implemented" in confinement._tried("x", system_calls.forbid)


def test_code_and_lists_can_be_read_and_the_folder_of_ours_cannot() -> None:
    """It may have a database and keys in it (`.data`, `.env`)."""
    readable = confinement._readable()

    assert ROOT / "sandboxes" in readable
    assert not any(ROOT.is_relative_to(each) for each in readable)


def test_it_can_be_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandboxes.screening.scanner", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    if done.returncode:
        assert "Landlock" in done.stderr or "seccomp" in done.stderr or "no_new_privs" in done.stderr
    else:
        assert done.stderr == "A scanner is confined in every way.\n"
