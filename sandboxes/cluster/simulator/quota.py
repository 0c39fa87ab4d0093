"""ResourceQuota: what a namespace uses, and whether one more object still fits."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.simulator.errors import ApiError, forbidden
from sandboxes.cluster.simulator.podspec import FINISHED, amount, containers, requested
from sandboxes.cluster.simulator.resources import CLAIMS, PODS, SERVICES, Resource

type Json = dict[str, Any]
type Item = tuple[Resource, Json]

# If a quota limits one of these, each container has to say how much it wants.
_MUST_SPECIFY: Final = frozenset(
    ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
)


def usage(hard: Json, items: Iterable[Item]) -> dict[str, Decimal]:
    """How much of each limited resource these objects use."""
    total = dict.fromkeys(hard, Decimal())
    for resource, item in items:
        if resource is PODS and item.get("status", {}).get("phase") in FINISHED:
            continue
        for name in total:
            total[name] += _one(name, resource, item)
    return total


def _one(name: str, resource: Resource, item: Json) -> Decimal:
    spec = item.get("spec") or {}
    if name in (resource.qualified, f"count/{resource.qualified}"):
        return Decimal(1)
    if resource is SERVICES:
        balanced, kind = spec.get("type") == "LoadBalancer", spec.get("type")
        counted = {"services.loadbalancers": balanced, "services.nodeports": balanced or kind == "NodePort"}
        return Decimal(int(counted.get(name, False)))
    if resource is CLAIMS and name == "requests.storage":
        return parse_quantity(spec.get("resources", {}).get("requests", {}).get("storage", "0"))
    if resource is not PODS:
        return Decimal()
    section, _, rest = name.partition(".")
    if section in ("requests", "limits") and rest != "storage":
        return requested(spec, section, rest)
    return requested(spec, "requests", name) if name in ("cpu", "memory", "ephemeral-storage") else Decimal()


def check(quota: Json, resource: Resource, item: Json, existing: Iterable[Item]) -> ApiError | None:
    """The refusal, worded like the admission plugin's; None if the object fits."""
    name, spec_hard = quota["metadata"]["name"], quota["spec"].get("hard", {})
    wanted = {key: value for key, value in usage(spec_hard, [(resource, item)]).items() if value}
    subject = item["metadata"].get("name") or item["metadata"].get("generateName", "")
    if resource is PODS and (missing := _unspecified(spec_hard, item)):
        return forbidden(resource, subject, f"failed quota: {name}: must specify {missing}")
    hard = quota.get("status", {}).get("hard", {})
    unknown = sorted(key for key in wanted if key not in hard)
    if unknown:
        message = f"status unknown for quota: {name}, resources: {','.join(unknown)}"
        return forbidden(resource, subject, message)
    used = usage(hard, existing)
    over = sorted(key for key in wanted if used[key] + wanted[key] > parse_quantity(str(hard[key])))
    if not over:
        return None
    listed = [
        ",".join(f"{key}={value}" for key, value in ((key, source[key]) for key in over))
        for source in (
            {key: written(key, value) for key, value in wanted.items()},
            {key: written(key, value) for key, value in used.items()},
            hard,
        )
    ]
    message = f"exceeded quota: {name}, requested: {listed[0]}, used: {listed[1]}, limited: {listed[2]}"
    return forbidden(resource, subject, message)


def _unspecified(hard: Json, pod: Json) -> str:
    missing = []
    for name in sorted(_MUST_SPECIFY & hard.keys()):
        section, _, resource = name.rpartition(".")
        lacking = [
            c["name"] for c in containers(pod["spec"]) if not amount(c, section or "requests", resource)
        ]
        if lacking:
            missing.append(f"{name} for: {','.join(lacking)}")
    return "; ".join(missing)


def written(name: str, value: Decimal) -> str:
    """A sum as the API server would write it: millicores, mebibytes or a plain number."""
    if name.endswith("cpu") and value % 1:
        return f"{int(value * 1000)}m"
    if value and not value % 2**20:
        return f"{int(value) // 2**20}Mi"
    return str(int(value))
