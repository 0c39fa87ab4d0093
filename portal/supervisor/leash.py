"""Runs a module as a child that cannot outlive its supervisor.

    python -m portal.supervisor.leash FD MODULE ARGUMENT…

FD is the reading end of a pipe whose writing end only the supervisor holds and
never writes to. When the supervisor ends, however it ends, the read returns:
the child is asked to stop as `SIGTERM` would, and made to soon after. This is
Linux's PR_SET_PDEATHSIG, for macOS too.
"""

import gc
import os
import runpy
import signal
import sys
import threading
import time

GRACE = 3.0  # seconds to stop in


def _follow(pipe: int) -> None:
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def main() -> None:
    pipe, module = int(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    gc.set_threshold(
        50_000, 20, 50
    )  # starting makes many objects and no garbage; looking less often is faster
    threading.Thread(target=_follow, args=(pipe,), daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
