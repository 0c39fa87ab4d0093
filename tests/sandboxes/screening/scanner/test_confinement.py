"""Processor time, which is given anew for each file."""

import signal
import subprocess
import sys
from pathlib import Path

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


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_who_uses_it_up_is_ended_by_the_system_though_nobody_watches() -> None:
    assert _run(USED_UP).returncode == -signal.SIGXCPU


def test_it_is_counted_from_the_last_time_that_some_was_given() -> None:
    assert _run(GIVEN_ANEW).stdout == "still here\n"
