"""The canary: what is rendered for the one neighbour that every sandbox of a cluster has.

`k8s-templates/canary/NN-kind.yaml` are numbered in apply order: below 50 the
canary, which stays, and from 50 on one run of the control, which is over in
seconds. One such namespace belongs to one installation on one cluster. It is no
sandbox and has no sandbox's label, so nothing that deletes sandboxes touches it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from sandboxes.cluster.kinds import KINDS
from sandboxes.cluster.names import short_hash
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.cluster.templates import Document, load_documents
from sandboxes.errors import InvalidInputError, TemplateError

_CONTROL_FROM: Final = 50


@dataclass(frozen=True, slots=True)
class CanaryTemplates:
    """Read and validated once; immutable."""

    canary: tuple[Document, ...]
    control: Document


def canary_namespace(installation_id: str) -> str:
    """The namespace of this installation's canary, on any cluster: a DNS-1123 label."""
    return f"petridish-canary-{short_hash(installation_id)}"


def load_canary(root: Path) -> CanaryTemplates:
    """Everything under `k8s-templates/canary`. TemplateError names file and line."""
    canary: list[Document] = []
    control: list[Document] = []
    for path in sorted((root / "canary").glob("*.yaml")):
        number = path.name[:2]
        if not number.isdecimal():
            raise TemplateError(f"{path}:1: the file's name must be NN-kind.yaml, NN in apply order")
        (control if int(number) >= _CONTROL_FROM else canary).extend(load_documents(path))
    if not canary or len(control) != 1:
        raise TemplateError(f"{root / 'canary'}: there must be a canary, and from 50 on one pod, its control")
    templates = CanaryTemplates(tuple(canary), control[0])
    trial = {"installation_id": "check", "image": "check"}
    render_canary(templates, **trial)
    render_control(templates, **trial, name="control-check", targets=[])
    return templates


def render_canary(
    templates: CanaryTemplates, *, installation_id: str, image: str
) -> tuple[tuple[KubeObject, ...], str]:
    """The canary's objects in apply order, and the hash that tells its pods from those of an older one."""
    values = {
        "namespace": canary_namespace(installation_id),
        "image": image,
        "canary_script": _script("canary_script.py"),
    }
    objects = tuple(_object(document, values) for document in templates.canary)
    if objects[0]["kind"] != "Namespace":
        raise templates.canary[0].at("kind").error("the canary must begin with its Namespace")
    spec_hash = hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()[:32]
    _stamp(objects, installation_id, "canary", {Labels.SPEC_HASH: spec_hash})
    return objects, spec_hash


def render_control(
    templates: CanaryTemplates,
    *,
    installation_id: str,
    image: str,
    name: str,
    targets: list[list[Any]],
) -> KubeObject:
    """The pod of one run. `targets` are those of the probe."""
    values = {
        "control": name,
        "image": image,
        "probe_script": _script("probe_script.py"),
        "probe_targets": json.dumps(targets, separators=(",", ":")),
    }
    pod = _object(templates.control, values)
    if pod["kind"] != "Pod":
        raise templates.control.at("kind").error("the control must be a Pod")
    _stamp((pod,), installation_id, "control", {Labels.RUN: name})
    return pod


def _object(document: Document, values: dict[str, Any]) -> KubeObject:
    item = document.filled(values)
    if (item.get("apiVersion"), item.get("kind")) not in KINDS:
        raise document.at("kind").error(
            f"a canary is not made of {item.get('apiVersion')} {item.get('kind')}"
        )
    return item


def _stamp(objects: Iterable[KubeObject], installation_id: str, stage: str, more: dict[str, str]) -> None:
    """Our namespace and labels on every object, and on the pods that they make."""
    if not installation_id:
        raise InvalidInputError("A canary belongs to an installation.")
    labels = {Labels.INSTALLATION: installation_id, Labels.CANARY: "true", Labels.STAGE: stage, **more}
    for item in objects:
        metadata = item["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), **labels}
        if item["kind"] != "Namespace":
            metadata["namespace"] = canary_namespace(installation_id)
        template = item.get("spec", {}).get("template")
        if isinstance(template, dict):
            inner = template.setdefault("metadata", {})
            inner["labels"] = {**inner.get("labels", {}), **labels}


@cache
def _script(name: str) -> str:
    """The source of what runs inside a pod."""
    return Path(__file__).with_name(name).read_text()
