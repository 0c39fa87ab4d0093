"""Profiles: what an admin offers, one YAML file each in `k8s-templates/profiles`.

The first document of a file says what the profile is. Further documents, if any,
are the workspace's objects; without them the standard workspace
(`sandbox/4x-*.yaml`) is used, so an ordinary profile is fifteen lines long.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

import isodate

from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.spec import DEFAULT_GPU
from sandboxes.cluster.templates import Document, Hole, load_documents
from sandboxes.errors import TemplateError

_NAME: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")
_IMAGE: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$")
_PACKAGE: Final = re.compile(
    r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[a-z0-9,-]+\])?(==[A-Za-z0-9.+!]+)?$"
)
# A RuntimeClass is named by a DNS-1123 subdomain of at most 253 characters.
_RUNTIME_CLASS: Final = re.compile(
    r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
)
# A label's key: an optional DNS-1123 subdomain and "/", then a name of at most 63 characters.
_LABEL_KEY: Final = re.compile(
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
)
_LABEL_VALUE: Final = re.compile(r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")
# An extended resource is always qualified by whose it is: nvidia.com/gpu, amd.com/gpu.
_RESOURCE: Final = re.compile(
    r"^(?=.{3,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
)
_EFFECTS: Final = frozenset(("", "NoSchedule", "PreferNoSchedule", "NoExecute"))
_TOLERATION: Final = frozenset(("key", "operator", "value", "effect", "tolerationSeconds"))
_FIELDS: Final = frozenset(
    (
        "title",
        "summary",
        "details",
        "risk",
        "image",
        "cpu",
        "memory",
        "storage",
        "gpu",
        "maxDuration",
        "packages",
        "runtimeClass",
        "nodeSelector",
        "tolerations",
        "gpuResource",
        "clusterLabels",
        "hibernateAfter",
    )
)
_OPTIONAL: Final = frozenset(
    (
        *("details", "packages", "runtimeClass", "nodeSelector", "tolerations"),
        *("gpuResource", "clusterLabels", "hibernateAfter"),
    )
)
_MAX_GPUS: Final = 16


@dataclass(frozen=True, slots=True)
class Profile:
    """A sandbox template: its words for people, and its size.

    `packages` are installed from our index once the workspace is up. `runtime_class`
    is the cluster's RuntimeClass (gVisor, Kata) that all its pods run under; "" means
    the cluster's default. What overhead a RuntimeClass itself declares is counted
    against the sandbox's quota. `node_selector` and `tolerations` are every pod's, the
    probe's included. `cluster_labels` are what a cluster must have to be given such a
    sandbox. `hibernate_after` is how long it may be idle before it is put to sleep;
    None means for ever.
    """

    name: str
    title: str
    summary: str
    risk: Literal["low", "high"]
    image: str
    cpu: str
    memory: str
    storage: str
    gpu: int
    max_duration: timedelta
    details: str = ""
    packages: tuple[str, ...] = ()
    runtime_class: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    gpu_resource: str = DEFAULT_GPU
    cluster_labels: Mapping[str, str] = field(default_factory=dict)
    hibernate_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A profile and the workspace objects that its file brings along (often none)."""

    profile: Profile
    workspace: tuple[Document, ...]


def load_profiles(root: Path, image_override: str | None = None) -> dict[str, Profile]:
    """Every profile by name, in the order of file names. `root` is `k8s-templates`.

    `image_override` replaces every image, for clusters that cannot pull.
    TemplateError names file and line.
    """
    return {file.profile.name: file.profile for file in load_profile_files(root, image_override)}


def load_profile_files(root: Path, image_override: str | None = None) -> list[ProfileFile]:
    """Every profile with its documents."""
    paths = sorted((root / "profiles").glob("*.yaml"))
    if not paths:
        raise TemplateError(f"{root / 'profiles'}: there is no profile")
    return [load_profile_file(path, image_override) for path in paths]


def load_profile_file(path: Path, image_override: str | None = None) -> ProfileFile:
    """One file, wholly validated."""
    documents = load_documents(path)
    if not documents:
        raise TemplateError(f"{path}:1: is empty; a profile is expected")
    return ProfileFile(_profile(documents[0], path.stem, image_override), tuple(documents[1:]))


def _profile(document: Document, stem: str, image_override: str | None) -> Profile:
    content = document.content
    if content.get("apiVersion") != "petridish.dev/v1" or content.get("kind") != "Profile":
        raise document.at("kind").error("the first document must be petridish.dev/v1, kind Profile")
    metadata = content.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise document.at("metadata", "name").error("metadata.name must be a DNS-1123 label, 40 at most")
    if name != stem:
        raise document.at("metadata", "name").error(f"metadata.name {name!r} is not the file's name {stem!r}")
    fields = _Fields(document)
    return Profile(
        name=name,
        title=fields.take("title", _line),
        summary=fields.take("summary", _text),
        details=fields.take("details", _text, ""),
        risk=fields.take("risk", _risk),
        image=image_override or fields.take("image", _image),
        cpu=fields.take("cpu", _quantity),
        memory=fields.take("memory", _quantity),
        storage=fields.take("storage", _quantity),
        gpu=fields.take("gpu", _gpu),
        max_duration=fields.take("maxDuration", _duration),
        packages=fields.take("packages", _packages, ()),
        runtime_class=fields.take("runtimeClass", _runtime_class, ""),
        node_selector=fields.take("nodeSelector", _labels, {}),
        tolerations=fields.take("tolerations", _tolerations, ()),
        gpu_resource=fields.take("gpuResource", _resource, DEFAULT_GPU),
        cluster_labels=fields.take("clusterLabels", _labels, {}),
        hibernate_after=fields.maybe("hibernateAfter", _duration),
    )


class _Fields:
    """`spec`, field by field, each mistake with its line."""

    def __init__(self, document: Document) -> None:
        self._document = document
        spec = document.content.get("spec")
        if not isinstance(spec, dict):
            raise document.at("spec").error("spec must be a mapping")
        self._spec: dict[str, Any] = spec
        for name in spec:
            if name not in _FIELDS:
                raise document.at("spec", name).error(f"unknown field spec.{name}")
        for name in sorted(_FIELDS - _OPTIONAL):
            if name not in spec:
                raise document.at("spec").error(f"spec.{name} is missing")

    def maybe[T](self, name: str, read: Callable[[Any], T]) -> T | None:
        return self.take(name, read) if name in self._spec else None

    def take[T](self, name: str, read: Callable[[Any], T], otherwise: T | None = None) -> T:
        if otherwise is not None and name not in self._spec:
            return otherwise
        value = self._spec[name]
        place = self._document.at("spec", name)
        if _has_hole(value):
            raise place.error(f"spec.{name} may hold no placeholder")
        try:
            return read(value)
        except ValueError as error:
            raise place.error(f"spec.{name} {error}") from error


def _has_hole(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, Hole) or (isinstance(value, list) and any(map(_has_hole, value)))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value.strip()


def _line(value: Any) -> str:
    text = _text(value)
    if "\n" in text or len(text) > 80:
        raise ValueError("must be one line of at most 80 characters")
    return text


def _risk(value: Any) -> Literal["low", "high"]:
    if value == "low":
        return "low"
    if value == "high":
        return "high"
    raise ValueError("must be low or high")


def _image(value: Any) -> str:
    if not isinstance(value, str) or not _IMAGE.fullmatch(value):
        raise ValueError("must be an image reference")
    return value


def _runtime_class(value: Any) -> str:
    if not isinstance(value, str) or not _RUNTIME_CLASS.fullmatch(value):
        raise ValueError("must be the name of a RuntimeClass, a DNS-1123 subdomain")
    return value


def _quantity(value: Any) -> str:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if parse_quantity(text) <= 0:
        raise ValueError("must be more than nothing")
    return text


def _gpu(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_GPUS:
        raise ValueError(f"must be a whole number from 0 to {_MAX_GPUS}")
    return value


def _duration(value: Any) -> timedelta:
    """ISO 8601-1, 5.5.2, without months and years: those have no fixed length."""
    message = "must be an ISO 8601 duration of days, hours or minutes, e.g. P30D"
    if not isinstance(value, str):
        raise ValueError(message)
    try:
        duration = isodate.parse_duration(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(message) from error
    if not isinstance(duration, timedelta) or duration <= timedelta():
        raise ValueError(message)
    return duration


def _packages(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(item, str) and _PACKAGE.fullmatch(item) for item in value
    ):
        raise ValueError('must be a list of package names, each at most with extras and "=="')
    return tuple(value)


def _labels(value: Any) -> dict[str, str]:
    """A `nodeSelector`, or what a cluster must be labelled with: both are labels and their values."""
    wrong = not isinstance(value, dict) or not all(
        _LABEL_KEY.fullmatch(key) and isinstance(text, str) and _LABEL_VALUE.fullmatch(text)
        for key, text in value.items()
    )
    if wrong:
        raise ValueError("must be a mapping of labels to their values, both text (quote true and numbers)")
    return dict(value)


def _tolerations(value: Any) -> tuple[dict[str, Any], ...]:
    """Tolerations as a PodSpec has them (core/v1). One without a key tolerates everything: not by accident."""
    if not isinstance(value, list):
        raise ValueError("must be a list of tolerations")
    return tuple(map(_toleration, value))


def _toleration(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value.keys() <= _TOLERATION:
        raise ValueError(f"must hold tolerations of {', '.join(sorted(_TOLERATION))}")
    key, operator = value.get("key"), value.get("operator", "Equal")
    if not isinstance(key, str) or not _LABEL_KEY.fullmatch(key):
        raise ValueError("has a toleration without a key: it would tolerate every taint")
    text = value.get("value", "")
    if not isinstance(text, str) or not _LABEL_VALUE.fullmatch(text):
        raise ValueError("has a toleration whose value is no label's value (quote true and numbers)")
    if operator not in ("Equal", "Exists") or (operator == "Exists" and text):
        raise ValueError("has a toleration whose operator is not Equal with a value, or Exists without")
    if value.get("effect", "") not in _EFFECTS:
        raise ValueError("has a toleration whose effect is not NoSchedule, PreferNoSchedule or NoExecute")
    seconds = value.get("tolerationSeconds", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        raise ValueError("has a toleration whose tolerationSeconds is no number of seconds")
    return dict(value)


def _resource(value: Any) -> str:
    if not isinstance(value, str) or not _RESOURCE.fullmatch(value):
        raise ValueError("must be the name of an extended resource, as nvidia.com/gpu is")
    return value
