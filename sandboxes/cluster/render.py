"""From a spec and the templates to the objects of one sandbox, stage by stage.

`k8s-templates/sandbox/NN-kind.yaml` are numbered in apply order, and the number
says the stage: below 40 the seal, 40s the standard workspace, 50s the probe, 60s
access. What a mistake in a template could cost is checked here and in `seal`, not
trusted: every namespaced object lands in the sandbox's namespace, nothing that
grants access is rendered before the probe's turn or opens more than the workspace's
pod, no network policy may mean everybody, and no object may replace one of the seal's.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

from sandboxes.cluster import baiting, canary
from sandboxes.cluster.access import check_access
from sandboxes.cluster.checks import check_spec
from sandboxes.cluster.isolated import (
    FOLDER,
    Whose,
    built_isolated,
    check_places,
    in_place,
    load_isolated,
)
from sandboxes.cluster.kinds import KINDS
from sandboxes.cluster.names import PROBE_POD
from sandboxes.cluster.npmrc import npmrc, registry
from sandboxes.cluster.peers import address_peers, dns_egress, host_aliases
from sandboxes.cluster.profiles import Profile, load_profile_file, load_profile_files
from sandboxes.cluster.quantities import add_bytes, add_cpu
from sandboxes.cluster.seal import (
    Built,
    check_placement,
    check_policy,
    check_seal,
    check_unique,
)
from sandboxes.cluster.spec import DnsAddress, EgressBlock, KubeObject, Labels, SandboxSpec, Target
from sandboxes.cluster.targets import probe_targets
from sandboxes.cluster.templates import Document, load_documents
from sandboxes.errors import InvalidInputError, TemplateError

type Stage = Literal["seal", "workspace", "probe", "access"]

_FILE_NAME: Final = re.compile(r"^([0-9]{2})-[a-z0-9-]+\.yaml$")
_ACCESS_KINDS: Final = frozenset(("Role", "RoleBinding"))

# What the probe pod takes beside the workspace: the quota must hold both at once. Starting
# Python on a tenth of a core takes longer than all that the probe then does.
PROBE_CPU: Final = "1"
PROBE_MEMORY: Final = "64Mi"
PROBE_STORAGE: Final = "16Mi"
_DEFAULT_CPU: Final = "100m"  # of a container that names no limits


@dataclass(frozen=True, slots=True)
class Templates:
    """All templates, read and validated once; immutable, so one copy serves every sandbox."""

    stages: Mapping[Stage, tuple[Document, ...]]
    profiles: Mapping[str, Profile]
    workspaces: Mapping[str, tuple[Document, ...]]
    isolated: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A sandbox's objects in apply order. `seal[0]` is the namespace."""

    seal: tuple[KubeObject, ...]
    workspace: tuple[KubeObject, ...]
    probe: tuple[KubeObject, ...]
    access: tuple[KubeObject, ...]
    spec_hash: str


def load_templates(root: Path, image_override: str | None = None) -> Templates:
    """Everything under `k8s-templates`. TemplateError names file and line."""
    stages: dict[Stage, list[Document]] = {"seal": [], "workspace": [], "probe": [], "access": []}
    numbers: dict[int, Path] = {}
    for path in sorted((root / "sandbox").glob("*.yaml")):
        number = _number(path, numbers)
        stages[_stage(number)] += load_documents(path)
    files = load_profile_files(root, image_override)
    for stage, documents in stages.items():
        if not documents:
            raise TemplateError(f"{root / 'sandbox'}: there is no template of the {stage}")
    isolated = load_isolated(root)
    check_places(isolated, stages["seal"])
    return Templates(
        stages={stage: tuple(documents) for stage, documents in stages.items()},
        profiles={file.profile.name: file.profile for file in files},
        workspaces={file.profile.name: file.workspace for file in files},
        isolated=isolated,
    )


def check_templates(root: Path) -> list[str]:
    """Every mistake in the templates, one readable line each; empty when all is well.

    Files are looked at one by one first, so that one bad file hides no other.
    """
    problems = [problem for path in _files(root) if (problem := _problem_of(path))]
    if problems:
        return problems
    try:
        templates = load_templates(root)
        canary.load_canary(root)
    except TemplateError as error:
        return [str(error)]
    return [problem for profile in templates.profiles.values() if (problem := _trial(profile, templates))]


def render(spec: SandboxSpec, templates: Templates) -> Rendered:
    """The objects of one sandbox. InvalidInputError if the spec could not be sealed."""
    check_spec(spec)
    if spec.profile not in templates.profiles:
        raise InvalidInputError(f"There is no profile {spec.profile!r}.")
    values = _values(spec, templates.profiles[spec.profile])
    own = templates.workspaces[spec.profile]
    sources = {**templates.stages, "workspace": own or templates.stages["workspace"]}
    built = {stage: list(_built(spec, stage, documents, values)) for stage, documents in sources.items()}
    if spec.isolated:
        whose = Whose(str(spec.sandbox_id), spec.installation_id, spec.namespace, spec.profile)
        built["seal"] = in_place(built["seal"], built_isolated(templates.isolated, whose))
    _check_built(spec, built)
    stages = {stage: tuple(item for item, _ in pairs) for stage, pairs in built.items()}
    spec_hash = _hash(objects for stage, objects in stages.items() if stage != "probe")
    # The probe's targets come and go with the cluster's nodes: that makes it another probe,
    # but no other sandbox.
    hashes = {"probe": _hash(stages.values())}
    for stage, objects in stages.items():
        for item in objects:
            _stamp(item, spec, stage, hashes.get(stage, spec_hash))
    return Rendered(
        seal=stages["seal"],
        workspace=stages["workspace"],
        probe=stages["probe"],
        access=stages["access"],
        spec_hash=spec_hash,
    )


def _check_built(spec: SandboxSpec, stages: Mapping[Stage, list[Built]]) -> None:
    """What can only be judged of all objects together."""
    check_seal(stages["seal"])
    _check_probe(stages["probe"])
    check_unique(chain.from_iterable(stages.values()))
    check_placement((*stages["workspace"], *stages["probe"]), spec)
    check_access(stages["access"], stages["workspace"])


def _check_probe(built: list[Built]) -> None:
    """The driver reads it, and the admission policy guards it, by its name."""
    if PROBE_POD not in [item["metadata"]["name"] for item, _ in built if item["kind"] == "Pod"]:
        raise built[0][1].at("kind").error(f"the probe must be a Pod of the name {PROBE_POD}")


def _files(root: Path) -> list[Path]:
    return sorted(
        path
        for folder in ("sandbox", "profiles", "canary", FOLDER)
        for path in (root / folder).glob("*.yaml")
    )


def _problem_of(path: Path) -> str | None:
    try:
        if path.parent.name == "profiles":
            load_profile_file(path)
        else:
            _number(path, {})
            load_documents(path)
    except TemplateError as error:
        return str(error)
    return None


def _trial(profile: Profile, templates: Templates) -> str | None:
    """What goes wrong when a made-up sandbox of this profile is rendered."""
    spec = SandboxSpec(
        sandbox_id=1,
        installation_id="check",
        name="sbx-check",
        namespace="sbx-check",
        profile=profile.name,
        owner="check",
        expires_at="2030-01-01T00:00:00Z",
        index_url="http://name:token@index.example:8081/simple/",
        index_host="index.example",
        index_port=8081,
        index_addresses=("192.0.2.1", "2001:db8::1"),
        image=profile.image,
        cpu=profile.cpu,
        memory=profile.memory,
        storage=profile.storage,
        gpu=profile.gpu,
        runtime_class=profile.runtime_class,
        node_selector=profile.node_selector,
        tolerations=profile.tolerations,
        gpu_resource=profile.gpu_resource,
        blocked_targets=(Target("api", "192.0.2.2", 6443),),
        dns=(DnsAddress("192.0.2.3"),),
        egress=(EgressBlock(1, "198.51.100.0/24", 443),),
        proxy_url="http://name:token@proxy.example:8082",
        proxy_host="proxy.example",
        proxy_port=8082,
        proxy_addresses=("192.0.2.4",),
    )
    try:
        render(spec, templates)
    except (TemplateError, InvalidInputError) as error:
        return str(error)
    return None


def _number(path: Path, seen: dict[int, Path]) -> int:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise TemplateError(f"{path}:1: the file's name must be NN-kind.yaml, NN in apply order")
    number = int(match[1])
    if number in seen:
        raise TemplateError(f"{path}:1: number {number:02} is taken by {seen[number].name}")
    if number >= 70:
        raise TemplateError(f"{path}:1: numbers end at 69")
    seen[number] = path
    return number


def _stage(number: int) -> Stage:
    if number < 40:
        return "seal"
    if number < 50:
        return "workspace"
    return "probe" if number < 60 else "access"


def _values(spec: SandboxSpec, profile: Profile) -> dict[str, Any]:
    """What the placeholders stand for: this is the whole list."""
    limits: dict[str, Any] = {"cpu": spec.cpu, "memory": spec.memory, "ephemeral-storage": spec.storage}
    if spec.gpu:
        limits[spec.gpu_resource] = spec.gpu
    no_proxy = ",".join(("localhost", "127.0.0.1", spec.index_host, *spec.index_addresses))
    return {
        "sandbox_id": spec.sandbox_id,
        "installation_id": spec.installation_id,
        "name": spec.name,
        "namespace": spec.namespace,
        "profile": spec.profile,
        "owner": spec.owner,
        "image": spec.image,
        "runtime_class": spec.runtime_class or None,  # None leaves the field out
        "node_selector": dict(spec.node_selector) or None,
        "tolerations": [dict(toleration) for toleration in spec.tolerations] or None,
        "packages": " ".join(profile.packages),
        "cpu": spec.cpu,
        "memory": spec.memory,
        "storage": spec.storage,
        "gpu": spec.gpu,
        "workspace_limits": limits,
        "probe_cpu": PROBE_CPU,
        "probe_memory": PROBE_MEMORY,
        "probe_storage": PROBE_STORAGE,
        "default_cpu": _DEFAULT_CPU,
        "quota_cpu": add_cpu(spec.cpu, PROBE_CPU),
        "quota_memory": add_bytes(spec.memory, PROBE_MEMORY),
        "quota_storage": add_bytes(spec.storage, PROBE_STORAGE),
        "index_host": spec.index_host,
        "index_port": spec.index_port,
        "index_trusted_host": "" if spec.index_url.startswith("https:") else spec.index_host,
        "index_url_base64": _base64(spec.index_url),
        "npm_registry": registry(spec.index_url),
        "npmrc_base64": _base64(npmrc(spec.index_url)),
        "index_peers": address_peers(spec.index_addresses),
        "index_aliases": host_aliases(
            (spec.index_host, spec.index_addresses), (spec.proxy_host, spec.proxy_addresses)
        ),
        "proxy_url_base64": _base64(spec.proxy_url) if spec.proxy_url else None,
        "no_proxy_base64": _base64(no_proxy) if spec.proxy_url else None,
        "proxy_peers": address_peers(spec.proxy_addresses),
        "proxy_port": spec.proxy_port,
        "dns_egress": dns_egress(spec.dns),
        "run": spec.run,
        "bait": {name: _base64(text) for name, text in spec.bait.items()},
        "probe_targets": json.dumps(probe_targets(spec), separators=(",", ":")),
        "probe_script": probe_script(),
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@cache
def probe_script() -> str:
    """The source of the probe, which runs inside the pod."""
    return Path(__file__).with_name("probe_script.py").read_text()


def _built(
    spec: SandboxSpec, stage: Stage, documents: Iterable[Document], values: Mapping[str, Any]
) -> Iterator[Built]:
    """Each document with its object."""
    for document in documents:
        for more in _instances(spec, document):
            item = _object(stage, document, {**values, **more})
            if item["kind"] == "ResourceQuota":
                _add_gpu(item, spec)
            if stage == "workspace":
                baiting.plant(item)
            yield item, document


def _instances(spec: SandboxSpec, document: Document) -> list[dict[str, Any]]:
    """How often a document is rendered: once for each egress exception, and a proxy's policy only with a proxy."""
    holes = document.holes()
    if holes & {"egress_id", "egress_cidr", "egress_port"}:
        return [
            {"egress_id": block.id, "egress_cidr": block.cidr, "egress_port": block.port}
            for block in spec.egress
        ]
    return [] if "proxy_peers" in holes and not spec.proxy_url else [{}]


def _add_gpu(quota: KubeObject, spec: SandboxSpec) -> None:
    """The name of a GPU is the profile's business, and a template's keys hold no placeholders."""
    hard = quota.get("spec", {}).get("hard")
    if isinstance(hard, dict) and hard:
        hard[f"requests.{spec.gpu_resource}"] = spec.gpu


def _object(stage: Stage, document: Document, values: Mapping[str, Any]) -> KubeObject:
    """One filled document that is a known kind in its right stage."""
    item = document.filled(values)
    for field in ("apiVersion", "kind"):
        if not isinstance(item.get(field), str):
            raise document.at(field).error(f"{field} is missing")
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise document.at("metadata").error("metadata.name is missing")
    if (item["apiVersion"], item["kind"]) not in KINDS:
        raise document.at("kind").error(f"a sandbox is not made of {item['apiVersion']} {item['kind']}")
    misplaced = (item["kind"] in _ACCESS_KINDS) != (stage == "access")
    # A second Namespace would be given this sandbox's name, and take the first one's labels away.
    if misplaced or (item["kind"] == "Namespace" and stage != "seal"):
        raise document.at("kind").error(f"{item['kind']} does not belong to the {stage}")
    if item["kind"] == "NetworkPolicy":
        check_policy(item, document)
    return item


def _hash(stages: Iterable[tuple[KubeObject, ...]]) -> str:
    """Changes when the objects do. Secrets are left out: a hash is shown, a token never is."""
    public = [item for objects in stages for item in objects if item["kind"] != "Secret"]
    return hashlib.sha256(json.dumps(public, sort_keys=True).encode()).hexdigest()[:32]


def _stamp(item: KubeObject, spec: SandboxSpec, stage: Stage, spec_hash: str) -> None:
    """Our namespace and labels on every object; owner, installation and expiry on the namespace."""
    metadata = item["metadata"]
    labels = {
        Labels.SANDBOX: str(spec.sandbox_id),
        Labels.INSTALLATION: spec.installation_id,
        Labels.PROFILE: spec.profile,
        Labels.STAGE: stage,
    }
    metadata["labels"] = {**metadata.get("labels", {}), **labels, Labels.SPEC_HASH: spec_hash}
    if item["kind"] == "Namespace":
        metadata["name"] = spec.namespace
        expiry = {} if spec.expires_at is None else {Labels.EXPIRES_AT: spec.expires_at}
        # The installation here too: if its label is taken off, this lets us put it back (platform/50-reach.yaml).
        said = {Labels.OWNER: spec.owner, Labels.INSTALLATION: spec.installation_id, **expiry}
        metadata["annotations"] = {**metadata.get("annotations", {}), **said}
        return
    metadata["namespace"] = spec.namespace
    template = item.get("spec", {}).get("template")
    if isinstance(template, dict):
        inner = template.setdefault("metadata", {})
        inner["labels"] = {**inner.get("labels", {}), **labels}
