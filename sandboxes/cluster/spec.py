"""What a sandbox is made from, and what the cluster says about it.

Plain frozen dataclasses: the words that `sandboxes.lifecycle` and the driver
share. Nothing here talks to a cluster or knows Django.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    RUN: Final = "petridish.dev/run"  # of a probe's or a control's pod: which run it is
    CANARY: Final = "petridish.dev/canary"  # the namespace of the neighbour that always answers
    OWNER: Final = "petridish.dev/owner"  # the cluster's user name, as in the RoleBinding
    EXPIRES_AT: Final = "petridish.dev/expires-at"


type Protocol = Literal["tcp", "udp"]

DEFAULT_GPU: Final = "nvidia.com/gpu"
CANARY_PORT: Final = 8080  # where the canary answers over TCP, beside DNS


@dataclass(frozen=True, slots=True)
class Target:
    """An address that the probe tries to reach: a connection over TCP, a DNS query over UDP."""

    name: str
    host: str
    port: int
    protocol: Protocol = "tcp"


@dataclass(frozen=True, slots=True)
class DnsAddress:
    """An address of the cluster's DNS. Behind a service, the pods may listen on another port than 53."""

    address: str
    port: int = 53


@dataclass(frozen=True, slots=True)
class EgressBlock:
    """A way out that somebody approved: TCP to one port of a block of addresses."""

    id: int
    cidr: str
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

    `proxy_url` is the egress proxy's, with credentials; "" means there is none.
    `closed` are blocks of addresses that no egress exception may touch. `isolated`
    leaves nothing but "deny all" of the network policies. `run` names the run of the
    probe, so that the result of an earlier one is never taken for it. `bait` are the contents of
    files for the workspace's home, by name.
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
    dns: tuple[DnsAddress, ...] = ()
    runtime_class: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    gpu_resource: str = DEFAULT_GPU
    isolated: bool = False
    egress: tuple[EgressBlock, ...] = ()
    closed: tuple[str, ...] = ()
    proxy_url: str = ""
    proxy_host: str = ""
    proxy_port: int = 0
    proxy_addresses: tuple[str, ...] = ()
    run: str = "opening"
    bait: Mapping[str, str] = field(default_factory=dict)


type Expected = Literal["blocked", "open"]
type Outcome = Literal["blocked", "open", "error"]
# Whether somebody who is allowed to reached the same target in the same run; "slow": only later
# than the probe had waited; "": nobody was asked.
type Vouched = Literal["answered", "slow", "silent", ""]


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
    protocol: Protocol = "tcp"
    control: Vouched = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one pod saw: the probe's from inside a seal, or the control's from outside of any.

    `passed` says that it saw what it should have. Whether "blocked" proves anything is
    for `verdict.judge` to say, which knows what the control saw. `usable` is False if
    the pod left nothing that can be read. The times are the cluster's own (its nodes'), so that two
    pods of one cluster can be compared whatever our clock says.
    """

    passed: bool
    simulated: bool
    attempts: tuple[Attempt, ...]
    usable: bool = True
    started_at: str = ""
    finished_at: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One target as the control found it."""

    host: str
    port: int
    protocol: Protocol
    open: bool
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Control:
    """One run of the control: what answers somebody who may reach it."""

    pod: str
    started_at: str
    finished_at: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class CanaryState:
    """`address` is where the canary answers, "" while it does not; `message` says why not."""

    address: str
    message: str


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
