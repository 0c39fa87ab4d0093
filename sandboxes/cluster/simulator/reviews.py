"""What the server says about who may do what, and who is asking.

The bearer of the token may do everything; about others, the Roles of a namespace
are evaluated. ClusterRoles are kept, but not obeyed.
"""

from typing import Any, Final

from sandboxes.cluster.simulator import rbac
from sandboxes.cluster.simulator.resources import ROLE_BINDINGS, ROLES
from sandboxes.cluster.simulator.store import Store

type Json = dict[str, Any]

USER: Final = "petridish-simulated:admin"
_PATHS: Final[dict[tuple[str, ...], str]] = {
    ("apis", "authorization.k8s.io", "v1", "subjectaccessreviews"): "access",
    ("apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"): "own access",
    ("apis", "authorization.k8s.io", "v1", "selfsubjectrulesreviews"): "own rules",
    ("apis", "authentication.k8s.io", "v1", "selfsubjectreviews"): "self",
}


def answer(store: Store, path: tuple[str, ...], body: Json) -> Json | None:
    """The review with its status; None if there is no such review."""
    kind = _PATHS.get(path)
    if kind is None:
        return None
    return {**body, "metadata": {}, "status": _status(store, kind, body.get("spec") or {})}


def _status(store: Store, kind: str, spec: Json) -> Json:
    if kind == "self":
        return {"userInfo": {"username": USER, "groups": ["system:masters", "system:authenticated"]}}
    if kind == "own rules":
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        return {"resourceRules": [everything], "nonResourceRules": [], "incomplete": False}
    if kind == "own access":
        return {"allowed": True}
    wanted = spec.get("resourceAttributes") or {}
    namespace = wanted.get("namespace", "")
    roles = {row.name: row.data for row in store.rows(ROLES, namespace)}
    bindings = [row.data for row in store.rows(ROLE_BINDINGS, namespace)]
    return {"allowed": rbac.allows(roles, bindings, spec.get("user", ""), wanted)}
