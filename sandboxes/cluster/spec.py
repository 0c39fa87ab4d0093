"""What a sandbox is made from, and what the cluster says about it.

Plain frozen dataclasses: the words that `sandboxes.lifecycle` and the driver
share. Nothing here talks to a cluster or knows Django.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

type KubeObject = dict[str, Any]

FIELD_MANAGER: Final = "petridish"


class Labels:
    """Our labels and annotations. Deleting and adopting look at these, so they never change."""

    SANDBOX: Final = "petridish.dev/sandbox"
    INSTALLATION: Final = "petridish.dev/installation"
    PROFILE: Final = "petridish.dev/profile"
    SPEC_HASH: Final = "petridish.dev/spec-hash"
    STAGE: Final = "petridish.dev/stage"  # seal, workspace, probe or access: how the driver finds its own
    OWNER: Final = "petridish.dev/owner"  # the cluster's user name, as in the RoleBinding
    EXPIRES_AT: Final = "petridish.dev/expires-at"


@dataclass(frozen=True, slots=True)
class Target:
    """An address that the probe tries to reach over TCP."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """Everything a rendered sandbox depends on: the same spec renders the same objects.

    `owner` is the user's name as the *cluster* knows it ("petridish:alice"), which is
    what the RoleBinding names and the namespace is annotated with: not the portal's
    user name. `index_url` carries credentials (`http://NAME:TOKEN@host:port/simple/`).
    `index_addresses` and `dns` are IP addresses, because that is all a network
    policy can say. Quantities are Kubernetes quantities ("500m", "2Gi").
    `runtime_class` is a RuntimeClass's name, "" for the cluster's default.
    """

    sandbox_id: int
    installation_id: str
    name: str
    namespace: str
    profile: str
    owner: str
    expires_at: str | None
    index_url: str
    index_host: str
    index_port: int
    index_addresses: tuple[str, ...]
    image: str
    cpu: str
    memory: str
    storage: str
    gpu: int
    blocked_targets: tuple[Target, ...] = ()
    dns: tuple[str, ...] = ()
    runtime_class: str = ""


type Expected = Literal["blocked", "open"]
type Outcome = Literal["blocked", "open", "error"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing the probe tried, what should have happened, and what did."""

    target: str
    host: str
    port: int
    expected: Expected
    result: Outcome
    milliseconds: int
    detail: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Evidence that the seal holds, or that it does not."""

    passed: bool
    simulated: bool
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """A namespace as the cluster shows it; `conditions` are readable sentences."""

    name: str
    uid: str
    phase: Literal["Active", "Terminating"]
    labels: dict[str, str]
    annotations: dict[str, str]
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkspaceState:
    """`failed` means waiting longer does not help; `message` says why either way."""

    ready: bool
    failed: bool
    message: str


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """Which server answered, and whether it only pretends to run pods."""

    version: str
    simulated: bool
    nodes: int
