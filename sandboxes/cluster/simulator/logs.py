"""What a pod that does not run would have logged.

A workspace reports once a minute how busy it is. Here it is idle, unless an
annotation of the pod says how many thousandths of a core it uses.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from sandboxes.cluster.simulator.errors import bad_request

type Json = dict[str, Any]

BUSY: Final = "simulated.petridish.dev/cpu-millis"
_STAGE: Final = "petridish.dev/stage"
_EVERY: Final = 60  # seconds
_IDLE_MILLIS: Final = 0.2
_REPORTS: Final = 10


def text(pod: Json, query: Mapping[str, str], lines: int, most: int) -> str:
    """The last so many lines, and of them the first so many characters; 0 means all. 400 if nothing ran.

    A container that was stopped and cannot start is read as it was when it ran, as nodes do it.
    """
    metadata = pod["metadata"]
    state = _state(pod, query.get("container", ""))
    if query.get("previous") == "true" and not state.get("lastState"):
        raise bad_request(f'previous terminated container in pod "{metadata["name"]}" not found')
    if not state.get("containerID"):
        raise bad_request(f'container in pod "{metadata["name"]}" is waiting to start: ContainerCreating')
    said = ["This pod is simulated: it runs nothing."]
    if (metadata.get("labels") or {}).get(_STAGE) == "workspace":
        said += _reports((metadata.get("annotations") or {}).get(BUSY, ""))
    at = f"{metadata['creationTimestamp']} " if query.get("timestamps") == "true" else ""
    return "".join(f"{at}{line}\n" for line in said[-lines:])[: most or None]


def _state(pod: Json, container: str) -> Json:
    """The container's status; of the only one, if none is named."""
    names = [each["name"] for each in pod["spec"]["containers"]]
    if container and container not in names:
        raise bad_request(f"container {container} is not valid for pod {pod['metadata']['name']}")
    entries: list[Json] = pod["status"].get("containerStatuses") or []
    return next((entry for entry in entries if container in ("", entry["name"])), {})


def _reports(busy: str) -> list[str]:
    """`petridish-activity EPOCH PROCESSES CPU_USEC`, the CPU time counted from some start."""
    millis = float(busy) if busy.isdigit() else _IDLE_MILLIS
    now = int(time.time())
    times = range(now - (_REPORTS - 1) * _EVERY, now + 1, _EVERY)
    return [f"petridish-activity {at} 0 {round((at - times[0]) * millis * 1000)}" for at in times]
