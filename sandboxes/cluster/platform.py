"""What a cluster needs from its own admin before Petridish works there: rendered to be read, then applied.

`k8s-templates/platform/NN-kind.yaml` say who Petridish is, what it may do, and what
nobody may do in its sandboxes. Petridish does not apply them itself: that takes rights
which it should not have.

Values go into the policies' expressions as CEL literals, never as text, so that a
registry's or a user's name cannot become part of a rule.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.entering import inventory_command
from sandboxes.cluster.images import check_image
from sandboxes.cluster.names import PROBE_POD, WORKSPACE_POD
from sandboxes.cluster.spec import KubeObject
from sandboxes.cluster.templates import load_documents
from sandboxes.cluster.tending import NAME_PREFIX
from sandboxes.errors import ClusterRefusedError

ROOT: Final = Path(__file__).resolve().parents[2] / "k8s-templates"
PLATFORM: Final = "petridish.dev/platform"  # on the policies: the installation they are for
ACCOUNT: Final = "petridish"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_REACH: Final = "50-reach.yaml"
_SELF: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@dataclass(frozen=True, slots=True)
class Platform:
    """What the manifests depend on. `user` is Petridish as the cluster knows it, `name` begins every name."""

    installation_id: str
    registries: tuple[str, ...] = ()
    user: str = f"{_SERVICE_ACCOUNT}{ACCOUNT}:{ACCOUNT}"
    name: str = "petridish"
    namespace: str = ACCOUNT
    account: str = ACCOUNT


def render_platform(root: Path, platform: Platform) -> list[KubeObject]:
    """The objects in apply order. InvalidInputError for a registry that is none."""
    values = _values(platform)
    paths = [
        path
        for path in sorted((root / "platform").glob("*.yaml"))
        if path.name != _REACH or platform.user.startswith(_SERVICE_ACCOUNT)
    ]
    return [document.filled(values) for path in paths for document in load_documents(path)]


def written(objects: list[KubeObject]) -> str:
    """The objects as YAML, for `kubectl apply -f -`."""
    return yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True, width=100)


def policy_names(root: Path, platform: Platform) -> list[str]:
    """The admission policies that a cluster should have: what limits the reach of an account, only for one."""
    objects = render_platform(root, platform)
    return [item["metadata"]["name"] for item in objects if item["kind"] == "ValidatingAdmissionPolicy"]


def needed_rules(root: Path = ROOT) -> set[tuple[str, str, str, str]]:
    """(verb, API group, resource, name) of everything that our ClusterRoles grant; the name is "" for any."""
    roles = [item for item in render_platform(root, Platform("any")) if item["kind"] == "ClusterRole"]
    return {
        (verb, group, resource, name)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ("",))
    }


def whoami(cluster: Cluster) -> str:
    """Our user name, as the cluster sees us (SelfSubjectReview, authentication.k8s.io/v1)."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    name = cluster.api.create(_SELF, review).get("status", {}).get("userInfo", {}).get("username")
    if not name:
        raise ClusterRefusedError(f"Cluster {cluster.name} does not say who we are.")
    return str(name)


def _values(platform: Platform) -> dict[str, Any]:
    # Checks each registry as it is checked when a sandbox is rendered.
    if platform.registries:
        check_image(
            f"{platform.registries[0].rstrip('/')}/any", registries=platform.registries, digest_required=False
        )
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": platform.user}
    return {
        "name": platform.name,
        "namespace": platform.namespace,
        "account": platform.account,
        "installation_id": platform.installation_id,
        "subjects": [subject],  # a service account is a user too, by its full name
        "registries": _literal([f"{registry.removesuffix('/')}/" for registry in platform.registries]),
        "user": _literal(platform.user),
        "installation": _literal(platform.installation_id),
        "prefix": _literal(NAME_PREFIX),
        "probe": _literal(PROBE_POD),
        "workspace": _literal(WORKSPACE_POD),
        "inventory": _literal(inventory_command()),
    }


def _literal(value: str | list[str]) -> str:
    """A CEL literal. JSON's strings and lists are also CEL's (cel-spec, "Values")."""
    return json.dumps(value)
