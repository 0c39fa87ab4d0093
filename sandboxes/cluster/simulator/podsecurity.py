"""Pod Security Standards, as far as sandboxes lean on them.

`baseline` and `restricted` of kubernetes.io/docs/concepts/security/pod-security-standards,
without the rarer fields (SELinux, AppArmor, sysctls, volume types beyond hostPath).
Messages are worded like the admission plugin's.
"""

from collections.abc import Iterator
from typing import Any

from sandboxes.cluster.simulator.podspec import containers

type Json = dict[str, Any]


def violations(level: str, spec: Json) -> list[str]:
    """What a pod of that spec does wrong; [] if it may run."""
    if level == "privileged":
        return []
    found = list(_baseline(spec))
    return found if level == "baseline" else [*found, *_restricted(spec)]


def _context(item: Json) -> Json:
    return item.get("securityContext") or {}


def _names(items: list[Json]) -> str:
    listed = ", ".join(f'"{item.get("name")}"' for item in items)
    return f"container {listed}" if len(items) == 1 else f"containers {listed}"


def _baseline(spec: Json) -> Iterator[str]:
    shared = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    if shared:
        yield f"host namespaces ({', '.join(f'{field}=true' for field in shared)})"
    paths = [volume["name"] for volume in spec.get("volumes") or () if "hostPath" in volume]
    if paths:
        yield f"hostPath volumes (volume {', '.join(paths)})"
    privileged = [item for item in containers(spec) if _context(item).get("privileged")]
    if privileged:
        yield f"privileged ({_names(privileged)} must not set securityContext.privileged=true)"
    ports = [
        item for item in containers(spec) if any(port.get("hostPort") for port in item.get("ports") or ())
    ]
    if ports:
        yield f"hostPort ({_names(ports)})"


def _restricted(spec: Json) -> Iterator[str]:
    everyone = containers(spec)
    bad = [item for item in everyone if _context(item).get("allowPrivilegeEscalation") is not False]
    if bad:
        advice = "must set securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({_names(bad)} {advice})"
    bad = [item for item in everyone if not _drops_all(_context(item).get("capabilities") or {})]
    if bad:
        advice = 'must set securityContext.capabilities.drop=["ALL"]'
        yield f"unrestricted capabilities ({_names(bad)} {advice})"
    bad = [item for item in everyone if _inherited(spec, item, "runAsNonRoot") is not True]
    if bad:
        yield f"runAsNonRoot != true (pod or {_names(bad)} must set securityContext.runAsNonRoot=true)"
    if any(_context(item).get("runAsUser") == 0 for item in (spec, *everyone)):
        yield "runAsUser=0 (pod and containers must not set runAsUser=0)"
    bad = [item for item in everyone if not _has_seccomp(spec, item)]
    if bad:
        advice = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        yield f"seccompProfile (pod or {_names(bad)} {advice})"


def _drops_all(capabilities: Json) -> bool:
    added = set(capabilities.get("add") or ())
    return "ALL" in (capabilities.get("drop") or ()) and added <= {"NET_BIND_SERVICE"}


def _inherited(spec: Json, container: Json, field: str) -> Any:
    own = _context(container).get(field)
    return own if own is not None else _context(spec).get(field)


def _has_seccomp(spec: Json, container: Json) -> bool:
    profile = _inherited(spec, container, "seccompProfile") or {}
    return profile.get("type") in ("RuntimeDefault", "Localhost")
