"""What a pod that does not run would have logged.

A workspace reports once a minute how busy it is. Here it is idle, unless an
annotation of the pod says how many thousandths of a core it uses.
"""

import time
from typing import Any, Final

from sandboxes.cluster.simulator.errors import bad_request

type Json = dict[str, Any]

BUSY: Final = "simulated.petridish.dev/cpu-millis"
_STAGE: Final = "petridish.dev/stage"
_EVERY: Final = 60  # seconds
_IDLE_MILLIS: Final = 0.2
_REPORTS: Final = 10


def text(pod: Json, lines: int) -> str:
    """The last so many lines; 0 means all. 400 while no container runs."""
    name, metadata = pod["metadata"]["name"], pod["metadata"]
    if pod["status"].get("phase") == "Pending":
        raise bad_request(f'container in pod "{name}" is waiting to start: ContainerCreating')
    said = ["This pod is simulated: it runs nothing."]
    if (metadata.get("labels") or {}).get(_STAGE) == "workspace":
        said += _reports((metadata.get("annotations") or {}).get(BUSY, ""))
    return "".join(f"{line}\n" for line in said[-lines:])


def _reports(busy: str) -> list[str]:
    """`petridish-activity EPOCH PROCESSES CPU_USEC`, the CPU time counted from some start."""
    millis = float(busy) if busy.isdigit() else _IDLE_MILLIS
    now = int(time.time())
    times = range(now - (_REPORTS - 1) * _EVERY, now + 1, _EVERY)
    return [f"petridish-activity {at} 0 {round((at - times[0]) * millis * 1000)}" for at in times]
