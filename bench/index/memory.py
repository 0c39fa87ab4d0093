"""How much memory a process has, and had at most."""

from collections.abc import Sequence
from pathlib import Path

import psutil


def workers(index: psutil.Process) -> list[psutil.Process]:
    """Those that serve, oldest first: the index's own process only looks after them."""
    return sorted(index.children(), key=lambda each: each.pid)


def resident(process: psutil.Process) -> float:
    """MB."""
    return float(process.memory_info().rss) / 1e6


def forget_peak(process: psutil.Process) -> None:
    """From now on `peak` is what it has at most from here on."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak(process: psutil.Process) -> float:
    """MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6


def growth(samples: Sequence[float]) -> float:
    """From the end of the first tenth, when caches and pools are full, to the end. Each is the middle of three."""
    tenth = max(1, len(samples) // 10)
    return _middle(samples[-3:]) - _middle(samples[max(0, tenth - 2) : tenth + 1])


def _middle(samples: Sequence[float]) -> float:
    return sorted(samples)[len(samples) // 2]
