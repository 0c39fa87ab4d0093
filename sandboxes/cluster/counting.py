"""Whether a namespace's quota still counts a pod that is gone.

Its controller takes a deleted pod out some time after it went, and one whose creation was lost in a race
only when it counts anew. Until then the server refuses what there is room for.
"""

from typing import Final

from sandboxes.cluster.api import Api
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.quantities import parse_quantity

_POD: Final = kind("v1", "Pod")
_QUOTA: Final = kind("v1", "ResourceQuota")
_OVER: Final = ("Succeeded", "Failed")  # phases of a pod that no quota counts


def is_behind(api: Api, namespace: str) -> bool:
    """More pods are counted than are there, those being stopped included."""
    there = sum(pod.get("status", {}).get("phase") not in _OVER for pod in api.list(_POD, namespace))
    counted = (quota.get("status", {}).get("used", {}) for quota in api.list(_QUOTA, namespace))
    return any(parse_quantity(used.get("pods", "0")) > there for used in counted)
