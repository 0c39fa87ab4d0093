"""A simulated cluster whose machine has another time than ours.

    python -m tests.sandboxes.lifecycle.another_clock MINUTES OPTIONS

OPTIONS are the simulator's own. Whatever it writes down, and every answer's Date, is that many
minutes off.
"""

import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

NAME = "tests.sandboxes.lifecycle.another_clock"


def main() -> int:
    shift, real = timedelta(minutes=int(sys.argv.pop(1))), time.time
    time.time = lambda: real() + shift.total_seconds()

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = UTC) -> Self:
            return cls.fromtimestamp(time.time(), tz)

    from sandboxes.cluster.simulator import __main__, http, objects

    for module in (http, objects):
        vars(module)["datetime"] = Shifted
    return __main__.main()


if __name__ == "__main__":
    sys.exit(main())
