"""Selectors, policies, Pod Security, roles: the rules that need no server."""

import copy
from typing import Any

import pytest

from sandboxes.cluster.simulator.errors import ApiError
from sandboxes.cluster.simulator.patches import merge_patch
from sandboxes.cluster.simulator.podsecurity import violations
from sandboxes.cluster.simulator.policy import may_connect
from sandboxes.cluster.simulator.rbac import allows
from sandboxes.cluster.simulator.selectors import from_object, parse_fields, parse_labels

type Json = dict[str, Any]


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ("", {}, True),
        ("a=1", {"a": "1"}, True),
        ("a==1", {"a": "2"}, False),
        ("a!=1", {}, True),
        ("a!=1", {"a": "1"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": "1"}, False),
        ("a in (1, 2),b", {"a": "2", "b": "x"}, True),
        ("a in (1,2)", {}, False),
        ("a notin (1,2)", {}, True),
        ("a notin (1,2)", {"a": "1"}, False),
        ("example.com/a=x.y-z", {"example.com/a": "x.y-z"}, True),
        ("a=1,b=2", {"a": "1"}, False),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], selected: bool) -> None:
    assert parse_labels(selector)(labels) is selected


@pytest.mark.parametrize("selector", ["a=1=2", "a in 1", "=", "a b", "a in (1"])
def test_selectors_that_mean_nothing_are_refused(selector: str) -> None:
    with pytest.raises(ApiError, match="unable to parse"):
        parse_labels(selector)


def test_selector_objects() -> None:
    assert from_object({})({"any": "thing"})
    selector = {
        "matchLabels": {"a": "1"},
        "matchExpressions": [
            {"key": "b", "operator": "NotIn", "values": ["2"]},
            {"key": "c", "operator": "Exists"},
            {"key": "d", "operator": "DoesNotExist"},
        ],
    }
    assert from_object(selector)({"a": "1", "c": ""})
    assert not from_object(selector)({"a": "1", "b": "2", "c": ""})


def test_field_selectors() -> None:
    item = {"metadata": {"name": "x"}, "spec": {}, "status": {"phase": "Running"}}
    assert parse_fields("metadata.name=x,status.phase!=Pending")(item)
    assert not parse_fields("spec.nodeName=n")(item)
    with pytest.raises(ApiError, match="not supported"):
        parse_fields("spec.image=x")


def policy(**spec: Any) -> Json:
    return {"spec": {"podSelector": {}, **spec}}


DENY = policy(policyTypes=["Ingress", "Egress"])
INDEX = {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"protocol": "TCP", "port": 8081}]}


@pytest.mark.parametrize(
    ("policies", "host", "port", "open_"),
    [
        ([], "192.0.2.9", 6443, True),
        ([DENY], "192.0.2.1", 8081, False),
        ([DENY, policy(policyTypes=["Egress"], egress=[INDEX])], "192.0.2.1", 8081, True),
        ([DENY, policy(policyTypes=["Egress"], egress=[INDEX])], "192.0.2.1", 8082, False),
        ([DENY, policy(policyTypes=["Egress"], egress=[INDEX])], "192.0.2.9", 8081, False),
        ([DENY, policy(policyTypes=["Egress"], egress=[])], "192.0.2.1", 8081, False),
        ([DENY, policy(policyTypes=["Egress"], egress=[{}])], "192.0.2.9", 6443, True),
        ([DENY, policy(policyTypes=["Egress"], egress=[{"to": []}])], "192.0.2.9", 6443, True),
        ([policy(policyTypes=["Ingress"])], "192.0.2.9", 6443, True),
        (
            [policy(policyTypes=["Egress"], podSelector={"matchLabels": {"app": "other"}})],
            "192.0.2.9",
            1,
            True,
        ),
        ([policy(egress=[INDEX])], "192.0.2.9", 8081, False),
    ],
)
def test_network_policies_mean_what_the_api_says(
    policies: list[Json], host: str, port: int, open_: bool
) -> None:
    assert may_connect(policies, {"app": "probe"}, host, port) is open_


def test_exceptions_port_ranges_and_protocols() -> None:
    block = {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}
    rule = {
        "to": [{"ipBlock": block}],
        "ports": [{"port": 8000, "endPort": 8010}, {"protocol": "UDP", "port": 53}],
    }
    policies = [policy(policyTypes=["Egress"], egress=[rule])]
    assert may_connect(policies, {}, "10.2.0.1", 8010)
    assert not may_connect(policies, {}, "10.2.0.1", 8011)
    assert not may_connect(policies, {}, "10.1.0.1", 8000)
    assert not may_connect(policies, {}, "10.2.0.1", 53)


GOOD: Json = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}


def test_a_restricted_pod_may_run() -> None:
    assert violations("restricted", GOOD) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "hostPath volumes"),
        ({"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
        ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "runAsNonRoot != true"),
        ({"containers": [{"name": "c"}]}, "allowPrivilegeEscalation != false"),
        ({"containers": [{"name": "c"}]}, "unrestricted capabilities"),
        ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, "privileged"),
        ({"containers": [{"name": "c", "securityContext": {"runAsUser": 0}}]}, "runAsUser=0"),
        ({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}, "hostPort"),
        ({"initContainers": [{"name": "i"}]}, 'container "i"'),
    ],
)
def test_what_restricted_refuses(change: Json, message: str) -> None:
    found = violations("restricted", {**copy.deepcopy(GOOD), **change})
    assert any(message in text for text in found), found


def test_levels() -> None:
    assert violations("privileged", {"hostNetwork": True, "containers": []}) == []
    assert violations("baseline", {"containers": [{"name": "c"}]}) == []


def test_roles() -> None:
    roles = {"owner": {"rules": [{"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get"]}]}}
    bindings = [{"roleRef": {"name": "owner"}, "subjects": [{"kind": "User", "name": "alice"}]}]
    wanted = {"verb": "get", "group": "", "resource": "pods"}
    assert allows(roles, bindings, "alice", wanted)
    assert allows(roles, bindings, "alice", {**wanted, "subresource": "exec"})
    assert not allows(roles, bindings, "alice", {**wanted, "subresource": "log"})
    assert not allows(roles, bindings, "alice", {**wanted, "verb": "delete"})
    assert not allows(roles, bindings, "bob", wanted)
    assert not allows({}, bindings, "alice", wanted)


def test_merge_patch() -> None:
    """RFC 7396, appendix A, in part."""
    assert merge_patch({"a": "b"}, {"a": "c"}) == {"a": "c"}
    assert merge_patch({"a": "b", "b": "c"}, {"a": None}) == {"b": "c"}
    assert merge_patch({"a": ["b"]}, {"a": "c"}) == {"a": "c"}
    assert merge_patch({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merge_patch("x", {"a": {"b": None}}) == {"a": {}}
