"""ResourceQuota status: until `hard` stands there, admission refuses what it limits."""

from typing import Any

from sandboxes.cluster.simulator.admission import counted
from sandboxes.cluster.simulator.objects import Objects
from sandboxes.cluster.simulator.quota import usage, written
from sandboxes.cluster.simulator.resources import QUOTAS
from sandboxes.cluster.simulator.store import Row


class Quotas:
    """The quota controller."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def reconcile(self, row: Row) -> float | None:
        """One quota."""
        hard = {name: str(value) for name, value in (row.data["spec"].get("hard") or {}).items()}
        used = usage(hard, counted(self._objects.store, row.namespace))

        def change(status: dict[str, Any]) -> None:
            status.update(hard=hard, used={name: written(name, value) for name, value in used.items()})

        self._objects.change_status(QUOTAS, row.namespace, row.name, change)
        return None
