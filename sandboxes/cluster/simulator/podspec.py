"""Reading pods: their containers, what they ask for, and the defaults the API server adds."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from sandboxes.cluster.quantities import parse_quantity

type Json = dict[str, Any]

FINISHED: Final = frozenset(("Succeeded", "Failed"))


def containers(spec: Json) -> list[Json]:
    """Init containers and containers."""
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def fill_defaults(spec: Json) -> None:
    """The defaults that something here looks at."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("securityContext", {})
    for container in containers(spec):
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("imagePullPolicy", "IfNotPresent")
        resources = container.setdefault("resources", {})
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def requested(spec: Json, section: str, resource: str) -> Decimal:
    """The sum over containers, or the largest init container if that is more. `section`: requests, limits."""
    running = sum((amount(item, section, resource) for item in spec.get("containers") or ()), Decimal())
    starting = (amount(item, section, resource) for item in spec.get("initContainers") or ())
    return max(running, *starting, Decimal())


def amount(container: Json, section: str, resource: str) -> Decimal:
    """What one container asks for; zero if it does not say."""
    return parse_quantity(str((container.get("resources") or {}).get(section, {}).get(resource, 0)))


def environment(spec: Json) -> dict[str, str]:
    """Literal environment variables of all containers."""
    return {
        variable["name"]: variable["value"]
        for container in containers(spec)
        for variable in container.get("env") or ()
        if "value" in variable
    }


def references(spec: Json) -> Iterator[tuple[str, str]]:
    """(plural, name) of Secrets and ConfigMaps without which a container cannot start."""
    for container in containers(spec):
        for source in container.get("envFrom") or ():
            for field, plural in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
                if field in source and not source[field].get("optional"):
                    yield plural, source[field]["name"]
