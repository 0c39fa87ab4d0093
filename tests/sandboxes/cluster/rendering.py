"""Finding one object among those that were rendered."""

from collections.abc import Callable
from typing import Any

from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import KubeObject, SandboxSpec

type MakeSpec = Callable[..., SandboxSpec]


def one(objects: tuple[KubeObject, ...], kind: str, name: str) -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def pods(rendered: Rendered) -> list[dict[str, Any]]:
    """The PodSpecs of the workspace and of the probe."""
    return [rendered.workspace[0]["spec"]["template"]["spec"], rendered.probe[0]["spec"]]
