"""What a template may not grant the owner of a sandbox, whoever wrote it.

The probe runs again and again beside the workspace, and what it says decides whether the
seal holds. So a rule that lets somebody into pods must name them, and may name only such as
the workspace makes. RBAC can say that of what is below a pod (its name is in the URL of
"exec"), but not of making one: an owner who made pods could make one of any name.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sandboxes.cluster.seal import Built
from sandboxes.cluster.spec import KubeObject
from sandboxes.cluster.templates import Document

_SEEING: Final = frozenset(("get", "list", "watch"))


def check_access(access: Iterable[Built], workspace: Sequence[Built]) -> None:
    """Roles only show things, or open pods by their names, which the workspace makes."""
    entered: set[str] = set()
    for item, document in access:
        if item["kind"] == "RoleBinding" and item.get("roleRef", {}).get("kind") != "Role":
            raise document.at("roleRef", "kind").error("only a Role of the sandbox's own may be bound")
        for number, rule in enumerate(item.get("rules") or ()):
            entered.update(_entered(rule, document, ("rules", str(number))))
    missing = sorted(entered - set(_pods(item for item, _ in workspace)))
    if missing:
        raise (
            workspace[0][1]
            .at("kind")
            .error(
                f"the workspace makes no pod {missing[0]}, which its owner enters (a StatefulSet names its pods)"
            )
        )


def _entered(rule: dict[str, Any], document: Document, path: tuple[str, ...]) -> list[str]:
    """The pods that a rule opens; none if it only shows things."""
    resources, verbs = (list(rule.get(field) or ()) for field in ("resources", "verbs"))
    if _SEEING.issuperset(verbs) and not any("/" in resource or "*" in resource for resource in resources):
        return []
    if not all(resource.startswith("pods/") and "*" not in resource for resource in resources):
        raise document.at(*path).error("an owner may only see things, and enter the workspace's pods")
    names: list[str] = list(rule.get("resourceNames") or ())
    if not names:
        raise document.at(*path).error("without resourceNames this rule opens the probe's pod too")
    return names


def _pods(workspace: Iterable[KubeObject]) -> Iterator[str]:
    """The pods whose names are known before they are made."""
    for item in workspace:
        name = item["metadata"]["name"]
        if item["kind"] == "Pod":
            yield name
        elif item["kind"] == "StatefulSet":
            yield f"{name}-0"
