"""What a template may not do to the seal, whoever wrote it.

A network policy only ever adds: one careless rule beside "deny all" opens every
pod. So a rule must name whom it means, and these names must limit something:
Kubernetes reads an empty list of peers, an empty selector and a block of length 0
as "everybody". Pod Security, the quota and the limits are checked too, because
without any of them a sandbox would still come up, and look well.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from sandboxes.cluster.spec import EgressBlock, KubeObject, SandboxSpec
from sandboxes.cluster.templates import Document, Place
from sandboxes.errors import InvalidInputError

type Built = tuple[KubeObject, Document]  # an object, and what it was rendered from

# An approved exception is a service or a network, never a good part of the Internet in one line.
_SHORTEST_PREFIX: Final = {4: 8, 6: 32}
# Nobody's exception: cloud metadata services hand out the node's credentials, and an IPv4
# address written as IPv6 would slip past the limits for IPv4.
_CLOSED: Final = (
    ip_network("169.254.169.254/32"),
    ip_network("fd00:ec2::254/128"),
    ip_network("::ffff:0:0/96"),
)
_SELECTORS: Final = ("namespaceSelector", "podSelector")
_POD_SECURITY: Final = tuple(f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn"))
_CAPS: Final = (("ResourceQuota", "hard"), ("LimitRange", "limits"))


def check_policy(item: KubeObject, document: Document) -> None:
    """No rule may reach or admit everybody (NetworkPolicySpec: an empty list "matches all")."""
    spec = item.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("policyTypes"), list):
        raise document.at("spec", "policyTypes").error("a network policy must say its policyTypes")
    for direction, peers in (("egress", "to"), ("ingress", "from")):
        rules = spec.get(direction) or []
        if not isinstance(rules, list):
            raise document.at("spec", direction).error(f"{direction} must be a list of rules")
        for number, rule in enumerate(rules):
            path = ("spec", direction, str(number))
            entries = rule.get(peers) if isinstance(rule, dict) else None
            if not isinstance(entries, list) or not entries or not all(entries):
                raise document.at(*path).error(
                    f"an {direction} rule without {peers!r} would allow everything"
                )
            for index, peer in enumerate(entries):
                _check_peer(peer, document, (*path, peers, str(index)))


def check_seal(seal: Sequence[Built]) -> None:
    """The namespace first, once and restricted; quota and limits; and something that denies all traffic."""
    kinds = [item["kind"] for item, _ in seal]
    first = seal[0][1]
    if kinds[0] != "Namespace" or kinds.count("Namespace") != 1:
        raise first.at("kind").error("the seal must begin with its one Namespace")
    _check_pod_security(*seal[0])
    for kind, field in _CAPS:
        if kind not in kinds:
            raise first.place.error(f"the seal of this namespace has no {kind}")
        for item, document in seal:
            if item["kind"] == kind and not _spec(item).get(field):
                raise document.at("spec", field).error(f"a {kind} without spec.{field} limits nothing")
    if not any(item["kind"] == "NetworkPolicy" and denies_all(item["spec"]) for item, _ in seal):
        raise first.place.error("no network policy of the seal denies all traffic of all pods")


def check_unique(objects: Iterable[Built]) -> None:
    """No object may come twice: the later one would replace the earlier, a policy of the seal included."""
    seen: dict[tuple[str, str], Place] = {}
    for item, document in objects:
        key = (item["kind"], item["metadata"]["name"])
        if key in seen:
            place = seen[key]
            raise document.at("metadata", "name").error(
                f"{key[0]} {key[1]!r} would replace that of {place.path.name}:{place.line}"
            )
        seen[key] = document.place


def check_placement(objects: Iterable[Built], spec: SandboxSpec) -> None:
    """Every pod runs where and as the profile says: a workspace of one's own is easily without it.

    A probe elsewhere, or under another runtime, would prove something about another network.
    """
    wanted: tuple[tuple[str, Any, str, str], ...] = (
        ("runtimeClassName", spec.runtime_class, "runtime_class", "runtimeClass"),
        ("nodeSelector", dict(spec.node_selector), "node_selector", "nodeSelector"),
        ("tolerations", [dict(each) for each in spec.tolerations], "tolerations", "tolerations"),
    )
    for item, document in objects:
        path, pod = _pod(item)
        for field, value, hole, name in wanted:
            if value and pod is not None and pod.get(field) != value:
                raise document.at(*path).error(
                    f"the pod needs {field}: ${{{hole}}}, because the profile has a {name}"
                )


def check_egress(blocks: Iterable[EgressBlock], closed: Iterable[str]) -> None:
    """InvalidInputError for an exception that would open the cluster itself, metadata, or half the Internet.

    `closed` are the cluster's own addresses, as blocks: its API server, nodes, pods and DNS.
    """
    own = [ip_network(text, strict=False) for text in closed]
    for block in blocks:
        network = _parsed(block.cidr)
        if network is None:
            raise InvalidInputError(f"{block.cidr!r} is no block of addresses.")
        fault = _fault(network)
        if fault:
            raise InvalidInputError(f"{block.cidr} {fault}.")
        inside = [each for each in own if each.version == network.version and each.overlaps(network)]
        if inside:
            raise InvalidInputError(
                f"{block.cidr} holds {inside[0]}, which is the cluster's own and stays closed."
            )


def _check_peer(peer: Any, document: Document, path: tuple[str, ...]) -> None:
    """A peer must limit, field by field; a selector left out is no limit and no hole."""
    fields = (
        {key: value for key, value in peer.items() if value is not None} if isinstance(peer, dict) else {}
    )
    if not fields or not fields.keys() <= {"ipBlock", *_SELECTORS}:
        raise document.at(*path).error("a peer must be an ipBlock, a namespaceSelector or a podSelector")
    if "ipBlock" in fields:
        _check_block(fields["ipBlock"], document.at(*path, "ipBlock", "cidr"))
    # Pods of a namespace that is named may be all of them; pods of every namespace are neighbours'.
    if "namespaceSelector" in fields:
        _check_selector("namespaceSelector", fields, document, path)
    elif "podSelector" in fields:
        _check_selector("podSelector", fields, document, path)


def _check_selector(name: str, fields: dict[str, Any], document: Document, path: tuple[str, ...]) -> None:
    if not _limits(fields[name]):
        raise document.at(*path, name).error(
            f"this {name} would select everybody: it must ask for labels by their values"
        )


def _limits(selector: Any) -> bool:
    """Whether a LabelSelector asks for values. Its parts are ANDed, so that one is enough.

    `NotIn` and `DoesNotExist` select whoever lacks a label, and `Exists` those who have
    one that all have (kubernetes.io/metadata.name): no limit.
    """
    if not isinstance(selector, dict):
        return False
    expressions = selector.get("matchExpressions") or []
    return bool(selector.get("matchLabels")) or any(
        isinstance(each, dict) and each.get("operator") == "In" for each in expressions
    )


def _check_block(block: Any, place: Place) -> None:
    """An `ipBlock` of moderate size that leaves the metadata service out. `except` is no excuse."""
    cidr = block.get("cidr") if isinstance(block, dict) else None
    network = _parsed(cidr)
    if network is None:
        raise place.error(f"{cidr!r} is no block of addresses")
    fault = _fault(network)
    if fault:
        raise place.error(f"{cidr} {fault}")


def _fault(network: IPv4Network | IPv6Network) -> str:
    """What is wrong with a block, whoever wants it; "" if nothing is."""
    shortest = _SHORTEST_PREFIX[network.version]
    if network.prefixlen < shortest:
        return f"would reach or admit too much: /{shortest} at most"
    closed = [each for each in _CLOSED if each.version == network.version and each.overlaps(network)]
    return f"holds {closed[0]}, which stays closed" if closed else ""


def _parsed(cidr: Any) -> IPv4Network | IPv6Network | None:
    try:
        # Without the test for text, ip_network(0) would be an address too.
        return ip_network(cidr if isinstance(cidr, str) else "", strict=False)
    except ValueError:
        return None


def _check_pod_security(namespace: KubeObject, document: Document) -> None:
    labels = namespace["metadata"].get("labels")
    for label in _POD_SECURITY:
        if not isinstance(labels, dict) or labels.get(label) != "restricted":
            raise document.at("metadata", "labels", label).error(f"{label} must be restricted")


def denies_all(spec: dict[str, Any]) -> bool:
    """Whether a policy's spec allows nothing to anybody, both ways."""
    return (
        spec.get("podSelector") == {}
        and set(spec["policyTypes"]) == {"Ingress", "Egress"}
        and not spec.get("ingress")
        and not spec.get("egress")
    )


def _spec(item: KubeObject) -> dict[str, Any]:
    """`spec`, or nothing if that is no mapping."""
    spec = item.get("spec")
    return spec if isinstance(spec, dict) else {}


def _pod(item: KubeObject) -> tuple[tuple[str, ...], dict[str, Any] | None]:
    """Where an object keeps its PodSpec, and that; None for what runs nothing."""
    if item["kind"] == "Pod":
        return ("spec",), _spec(item)
    template = _spec(item).get("template")
    if isinstance(template, dict):
        return ("spec", "template", "spec"), _spec(template)
    return (), None
