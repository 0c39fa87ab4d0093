"""What takes the place of a sandbox's seal while it is isolated: `k8s-templates/isolated/NN-kind.yaml`.

The network policies of that folder are all that is left, so each denies all traffic. Whatever else
stands there takes the place of the seal's object of the same kind and name: so a release, which
applies the seal again, leaves nothing of it behind. It depends on nothing but whose the namespace
is, so that it renders when the profile is gone, and for a namespace that no row knows.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sandboxes.cluster.seal import Built, check_policy, check_unique, denies_all
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.cluster.templates import Document, Hole, load_documents
from sandboxes.errors import TemplateError

DENY_ALL: Final = "deny-all"  # the policy that has to be there, in the seal too
FOLDER: Final = "isolated"
_FILE_NAME: Final = re.compile(r"^[0-9]{2}-[a-z0-9-]+\.yaml$")
# Secrets and bindings are taken away on purpose, and what runs is frozen.
_KINDS: Final = {
    ("networking.k8s.io/v1", "NetworkPolicy"),
    *(("v1", kind) for kind in ("ConfigMap", "LimitRange", "ResourceQuota", "ServiceAccount")),
}


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose namespace it is, by its labels; the names of the placeholders."""

    sandbox_id: str
    installation_id: str
    namespace: str
    profile: str


def load_isolated(root: Path) -> tuple[Document, ...]:
    """Everything under `k8s-templates/isolated`. TemplateError names file and line."""
    paths = sorted((root / FOLDER).glob("*.yaml"))
    for path in paths:
        if not _FILE_NAME.fullmatch(path.name):
            raise TemplateError(f"{path}:1: the file's name must be NN-kind.yaml, NN in apply order")
    documents = tuple(document for path in paths for document in load_documents(path))
    built = built_isolated(documents, Whose("1", "check", "sbx-check", "check"))
    check_unique(built)
    if ("NetworkPolicy", DENY_ALL) not in {_key(item) for item, _ in built}:
        raise TemplateError(f"{root / FOLDER}: there must be the NetworkPolicy {DENY_ALL}")
    return documents


def check_places(isolated: Iterable[Document], seal: Iterable[Document]) -> None:
    """Each has its place in the seal: a release would leave anything else behind."""
    there = {(document.content.get("kind"), _name(document)) for document in seal}
    for document in isolated:
        kind, name = document.content["kind"], _name(document)
        if (kind, name) not in there:
            raise document.at("metadata", "name").error(
                f"the seal has no {kind} {name!r} whose place this could take"
            )


def render_isolated(documents: Iterable[Document], whose: Whose) -> list[KubeObject]:
    """The objects, the policies first: nothing that the server refuses of the others may keep those back."""
    objects = [item for item, _ in built_isolated(documents, whose)]
    return sorted(objects, key=lambda item: item["kind"] != "NetworkPolicy")


def policy_names(documents: Iterable[Document]) -> frozenset[str]:
    """What is to be left of the network policies."""
    kinds = ((document.content["kind"], _name(document)) for document in documents)
    return frozenset(name for kind, name in kinds if kind == "NetworkPolicy")


def built_isolated(documents: Iterable[Document], whose: Whose) -> list[Built]:
    """Each object with its document, labelled as those of the seal are."""
    built = [(_object(document, asdict(whose)), document) for document in documents]
    text = json.dumps([item for item, _ in built], sort_keys=True)
    labels = {
        Labels.SANDBOX: whose.sandbox_id,
        Labels.INSTALLATION: whose.installation_id,
        Labels.PROFILE: whose.profile,
        Labels.STAGE: "seal",
        Labels.SPEC_HASH: hashlib.sha256(text.encode()).hexdigest()[:32],
    }
    for item, _ in built:
        metadata = item["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        metadata["namespace"] = whose.namespace
    return built


def in_place(seal: Iterable[Built], isolated: Iterable[Built]) -> list[Built]:
    """The seal of an isolated sandbox: none of its own policies, and of the rest what nothing takes the place of."""
    instead = list(isolated)
    taken = {_key(item) for item, _ in instead}
    kept = [
        (item, document)
        for item, document in seal
        if item["kind"] != "NetworkPolicy" and _key(item) not in taken
    ]
    return [*kept, *instead]


def _object(document: Document, values: Mapping[str, str]) -> KubeObject:
    item = document.filled(values)
    if (item.get("apiVersion"), item.get("kind")) not in _KINDS:
        raise document.at("kind").error(
            f"an isolated sandbox is given no {item.get('apiVersion')} {item.get('kind')}"
        )
    metadata = document.content.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise document.at("metadata").error("metadata.name is missing, or holds a placeholder")
    if item["kind"] == "NetworkPolicy":
        check_policy(item, document)
        if not denies_all(item["spec"]):
            raise document.at("spec").error(
                "a policy of an isolated sandbox must deny all traffic of all pods"
            )
    return item


def _key(item: KubeObject) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def _name(document: Document) -> str:
    metadata = document.content.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name.text if isinstance(name, Hole) else str(name)
