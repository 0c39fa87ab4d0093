"""What a sandbox is made of, and which mistakes never reach a cluster."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster.render import Rendered, Templates, check_templates, load_templates, render
from sandboxes.cluster.spec import DnsAddress, EgressBlock, KubeObject, Labels, SandboxSpec, Target
from sandboxes.errors import InvalidInputError, TemplateError
from tests.sandboxes.cluster.conftest import ROOT

type MakeSpec = Callable[..., SandboxSpec]


def everything(rendered: Rendered) -> list[KubeObject]:
    return [*rendered.seal, *rendered.workspace, *rendered.probe, *rendered.access]


def one(objects: tuple[KubeObject, ...], kind: str, name: str) -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def test_our_templates_are_right() -> None:
    assert check_templates(ROOT) == []


def test_every_object_is_ours_and_in_its_namespace(spec: MakeSpec, templates: Templates) -> None:
    rendered = render(spec(), templates)
    for item in everything(rendered):
        labels = item["metadata"]["labels"]
        assert labels[Labels.SANDBOX] == "7"
        assert labels[Labels.INSTALLATION] == "inst-1"
        assert labels[Labels.PROFILE] == "python"
        assert (labels[Labels.SPEC_HASH] == rendered.spec_hash) is (item not in rendered.probe)
        assert item["kind"] == "Namespace" or item["metadata"]["namespace"] == spec().namespace


def test_the_seal_comes_in_order(spec: MakeSpec, templates: Templates) -> None:
    kinds = [item["kind"] for item in render(spec(), templates).seal]
    assert kinds == [
        *("Namespace", "ResourceQuota", "LimitRange"),
        *("NetworkPolicy", "NetworkPolicy", "NetworkPolicy"),
        *("ServiceAccount", "Secret", "ConfigMap"),
    ]


def test_the_namespace_is_restricted_and_says_whose_it_is(spec: MakeSpec, templates: Templates) -> None:
    metadata = render(spec(), templates).seal[0]["metadata"]
    for mode in ("enforce", "audit", "warn"):
        assert metadata["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert metadata["annotations"] == {
        Labels.OWNER: "petridish:alice",
        Labels.INSTALLATION: metadata["labels"][Labels.INSTALLATION],
        Labels.EXPIRES_AT: "2030-01-01T00:00:00Z",
    }
    assert (
        Labels.EXPIRES_AT not in render(spec(expires_at=None), templates).seal[0]["metadata"]["annotations"]
    )


def test_only_the_index_and_dns_may_be_reached(spec: MakeSpec, templates: Templates) -> None:
    seal = render(spec(), templates).seal
    deny = one(seal, "NetworkPolicy", "deny-all")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = one(seal, "NetworkPolicy", "allow-index")["spec"]["egress"]
    assert rule["to"] == [{"ipBlock": {"cidr": "192.0.2.1/32"}}, {"ipBlock": {"cidr": "2001:db8::1/128"}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8081}]
    (rule,) = one(seal, "NetworkPolicy", "allow-dns")["spec"]["egress"]
    assert rule["to"] == [{"ipBlock": {"cidr": "10.96.0.10/32"}}]
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_dns_is_allowed_on_the_port_that_a_policy_sees(spec: MakeSpec, templates: Templates) -> None:
    """Behind the service stands a pod that listens elsewhere: the policy is asked after the NAT."""
    dns = (DnsAddress("10.96.0.10"), DnsAddress("10.244.0.5", 5353), DnsAddress("10.244.0.6", 5353))
    first, second = one(render(spec(dns=dns), templates).seal, "NetworkPolicy", "allow-dns")["spec"]["egress"]
    assert first["to"] == [{"ipBlock": {"cidr": "10.96.0.10/32"}}]
    assert {port["port"] for port in first["ports"]} == {53}
    assert [peer["ipBlock"]["cidr"] for peer in second["to"]] == ["10.244.0.5/32", "10.244.0.6/32"]
    assert {(port["protocol"], port["port"]) for port in second["ports"]} == {("UDP", 5353), ("TCP", 5353)}


def policies(rendered: Rendered) -> list[str]:
    return [item["metadata"]["name"] for item in rendered.seal if item["kind"] == "NetworkPolicy"]


def test_each_exception_is_a_policy_of_its_own(spec: MakeSpec, templates: Templates) -> None:
    blocks = (EgressBlock(4, "198.51.100.0/24", 443), EgressBlock(9, "2001:db8:1::/48", 5432))
    rendered = render(spec(egress=blocks), templates)
    assert policies(rendered) == ["deny-all", "allow-dns", "allow-index", "egress-4", "egress-9"]
    (rule,) = one(rendered.seal, "NetworkPolicy", "egress-9")["spec"]["egress"]
    assert rule == {
        "to": [{"ipBlock": {"cidr": "2001:db8:1::/48"}}],
        "ports": [{"protocol": "TCP", "port": 5432}],
    }
    assert rendered.spec_hash != render(spec(egress=blocks[:1]), templates).spec_hash


def test_the_probe_does_not_take_an_exception_for_a_leak(spec: MakeSpec, templates: Templates) -> None:
    targets = (
        Target("outside", "198.51.100.7", 443),
        Target("outside", "198.51.100.7", 80),
        Target("other-dns", "198.51.100.7", 443, "udp"),
    )
    rendered = render(
        spec(blocked_targets=targets, egress=(EgressBlock(1, "198.51.100.0/24", 443),)), templates
    )
    blocked = [line for line in probe_targets(rendered) if line[4] == "blocked"]
    assert [line[2:4] for line in blocked] == [[80, "tcp"], [443, "udp"]]


@pytest.mark.parametrize(
    ("cidr", "message"),
    [
        ("0.0.0.0/0", "too much: /8 at most"),
        ("169.254.0.0/16", "holds 169.254.169.254/32, which stays closed"),
        ("fd00:ec2::/32", "which stays closed"),
        ("everywhere", "no block of addresses"),
        ("10.244.0.0/24", "holds 10.244.0.0/16, which is the cluster's own"),
        ("192.0.2.0/24", "holds 192.0.2.9/32, which is the cluster's own"),
    ],
)
def test_no_exception_opens_the_cluster_itself(
    spec: MakeSpec, templates: Templates, cidr: str, message: str
) -> None:
    closed = ("192.0.2.9", "10.244.0.0/16", "2001:db8::9")
    with pytest.raises(InvalidInputError, match=message):
        render(spec(egress=(EgressBlock(1, cidr, 443),), closed=closed), templates)
    render(spec(egress=(EgressBlock(1, "198.51.100.0/24", 443),), closed=closed), templates)


def test_isolated_leaves_nothing_but_the_denial(spec: MakeSpec, templates: Templates) -> None:
    open_ = spec(egress=(EgressBlock(1, "198.51.100.0/24", 443),), **PROXY)
    assert len(policies(render(open_, templates))) == 5
    isolated = render(replace(open_, isolated=True), templates)
    assert policies(isolated) == ["deny-all"]
    kept = [item["kind"] for item in isolated.seal]
    assert kept.count("ResourceQuota") == kept.count("LimitRange") == 1


PROXY: dict[str, Any] = {
    "proxy_url": "http://sbx-alice:s3cret@proxy.example:8082",
    "proxy_host": "proxy.example",
    "proxy_port": 8082,
    "proxy_addresses": ("192.0.2.4",),
}


def test_the_proxy_is_a_way_out_only_where_there_is_one(spec: MakeSpec, templates: Templates) -> None:
    without, rendered = render(spec(), templates), render(spec(**PROXY), templates)
    assert "allow-proxy" not in policies(without)
    (rule,) = one(rendered.seal, "NetworkPolicy", "allow-proxy")["spec"]["egress"]
    assert rule["to"] == [{"ipBlock": {"cidr": "192.0.2.4/32"}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8082}]
    data = one(rendered.seal, "Secret", "package-index")["data"]
    told = {name: base64.b64decode(data[name]).decode() for name in data if "roxy" in name.lower()}
    assert told["HTTPS_PROXY"] == told["https_proxy"] == PROXY["proxy_url"]
    assert told["NO_PROXY"] == told["no_proxy"] == "localhost,127.0.0.1,index.example,192.0.2.1,2001:db8::1"
    aliases = rendered.workspace[0]["spec"]["template"]["spec"]["hostAliases"]
    assert {"ip": "192.0.2.4", "hostnames": ["proxy.example"]} in aliases
    assert ["egress-proxy", "192.0.2.4", 8082, "tcp", "open"] in probe_targets(rendered)
    assert "s3cret" not in json.dumps([item for item in everything(rendered) if item["kind"] != "Secret"])


def test_index_and_proxy_may_share_a_name(spec: MakeSpec, templates: Templates) -> None:
    same = {**PROXY, "proxy_host": "index.example", "proxy_addresses": ("192.0.2.1", "2001:db8::1")}
    pod = render(spec(**same), templates).workspace[0]["spec"]["template"]["spec"]
    assert pod["hostAliases"] == [
        {"ip": "192.0.2.1", "hostnames": ["index.example"]},
        {"ip": "2001:db8::1", "hostnames": ["index.example"]},
    ]


def test_no_dns_means_none_and_not_all(spec: MakeSpec, templates: Templates) -> None:
    seal = render(spec(dns=()), templates).seal
    assert one(seal, "NetworkPolicy", "allow-dns")["spec"]["egress"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index_addresses": ()}, "no address"),
        ({"index_addresses": ("index.example",)}, "not an IP address"),
        ({"dns": (DnsAddress("0.0.0.0/0"),)}, "not an IP address"),
        ({"dns": (DnsAddress("10.96.0.10", 0),)}, "not a port"),
        ({"run": "a b"}, "label"),
        ({"proxy_url": "http://proxy.example:8082", "proxy_port": 8082}, "proxy has no address"),
        ({"proxy_url": "http://192.0.2.4:1", "proxy_addresses": ("192.0.2.4",)}, "not a port"),
        ({"index_port": 0}, "not a port"),
        ({"namespace": "kube system"}, "DNS-1123"),
        ({"namespace": ""}, "DNS-1123"),
        ({"installation_id": "a b"}, "label"),
        ({"owner": ""}, "owner"),
        ({"profile": "unknown"}, "no profile"),
        ({"cpu": "lots"}, "quantity"),
        ({"blocked_targets": (Target("x", "192.0.2.9", 1),) * 79}, "at most 80"),
    ],
)
def test_what_cannot_be_sealed_is_not_rendered(
    spec: MakeSpec, templates: Templates, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        render(spec(**changes), templates)


def test_an_owner_is_only_ever_a_value(spec: MakeSpec, templates: Templates) -> None:
    owner = "x\n  - kind: Group\n    name: system:masters"
    binding = render(spec(owner=owner), templates).access[1]
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": owner}]


def test_the_token_is_in_the_secret_and_nowhere_else(spec: MakeSpec, templates: Templates) -> None:
    rendered = render(spec(), templates)
    secret = one(rendered.seal, "Secret", "package-index")
    told = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    login = base64.b64encode(b"sbx-alice:s3cret").decode()
    assert told.pop("npmrc") == f"//index.example:8081/npm/:_auth={login}\n"
    assert set(told.values()) == {"http://sbx-alice:s3cret@index.example:8081/simple/"}
    assert set(told) == {"PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL"}
    others = [item for item in everything(rendered) if item["kind"] != "Secret"]
    assert "s3cret" not in json.dumps(others)
    assert login not in json.dumps(others)
    renewed = render(spec(index_url="http://sbx-alice:other@index.example:8081/simple/"), templates)
    assert renewed.spec_hash == rendered.spec_hash


def test_npm_is_told_where_the_index_is_and_who_asks(spec: MakeSpec, templates: Templates) -> None:
    rendered = render(spec(), templates)
    data = one(rendered.seal, "ConfigMap", "package-settings")["data"]
    assert data["NPM_CONFIG_REGISTRY"] == "http://index.example:8081/npm/"
    pod = rendered.workspace[0]["spec"]["template"]["spec"]
    [volume] = [each for each in pod["volumes"] if "secret" in each]
    [item] = volume["secret"]["items"]
    [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    assert data["NPM_CONFIG_GLOBALCONFIG"] == f"{mount['mountPath']}/{item['path']}"
    assert item["key"] in one(rendered.seal, "Secret", volume["secret"]["secretName"])["data"]
    below = render(spec(index_url="https://a%40b:c@index.example/here/simple/"), templates)
    settings = one(below.seal, "ConfigMap", "package-settings")["data"]
    assert settings["NPM_CONFIG_REGISTRY"] == "https://index.example/here/npm/"
    secret = base64.b64decode(one(below.seal, "Secret", "package-index")["data"]["npmrc"]).decode()
    assert secret == f"//index.example/here/npm/:_auth={base64.b64encode(b'a@b:c').decode()}\n"


def test_the_hash_follows_the_objects(spec: MakeSpec, templates: Templates) -> None:
    assert render(spec(), templates).spec_hash == render(spec(), templates).spec_hash
    assert render(spec(cpu="2"), templates).spec_hash != render(spec(), templates).spec_hash
    later = spec(expires_at="2031-01-01T00:00:00Z")
    assert render(later, templates).spec_hash == render(spec(), templates).spec_hash


def test_the_quota_holds_workspace_and_probe(spec: MakeSpec, templates: Templates) -> None:
    rendered = render(spec(), templates)
    hard = one(rendered.seal, "ResourceQuota", "sandbox")["spec"]["hard"]
    assert (hard["limits.cpu"], hard["limits.memory"]) == ("2000m", "1088Mi")
    assert (hard["services.loadbalancers"], hard["services.nodeports"]) == (0, 0)


def test_gpus_are_asked_for_only_when_wanted(spec: MakeSpec, templates: Templates) -> None:
    def limits(rendered: Rendered) -> dict[str, Any]:
        pod = rendered.workspace[0]["spec"]["template"]["spec"]
        found: dict[str, Any] = pod["containers"][0]["resources"]["limits"]
        return found

    assert "nvidia.com/gpu" not in limits(render(spec(), templates))
    rendered = render(spec(profile="gpu", gpu=1), templates)
    assert limits(rendered)["nvidia.com/gpu"] == 1
    assert one(rendered.seal, "ResourceQuota", "sandbox")["spec"]["hard"]["requests.nvidia.com/gpu"] == 1


def test_a_gpu_goes_by_the_name_that_its_plugin_gave_it(spec: MakeSpec, templates: Templates) -> None:
    rendered = render(spec(profile="gpu", gpu=2, gpu_resource="amd.com/gpu"), templates)
    hard = one(rendered.seal, "ResourceQuota", "sandbox")["spec"]["hard"]
    assert (hard["requests.amd.com/gpu"], hard["requests.nvidia.com/gpu"]) == (2, 0)
    workspace, probe = (pod["containers"][0]["resources"]["limits"] for pod in pods(rendered))
    assert workspace["amd.com/gpu"] == 2
    assert not [name for name in (*workspace, *probe) if name.startswith("nvidia")]
    assert "amd.com/gpu" not in probe  # a probe needs none, and may not wait for one


def test_the_index_name_is_pinned_unless_it_is_an_address(spec: MakeSpec, templates: Templates) -> None:
    def aliases(rendered: Rendered) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = rendered.workspace[0]["spec"]["template"]["spec"]["hostAliases"]
        return found

    assert aliases(render(spec(index_addresses=("192.0.2.1",)), templates)) == [
        {"ip": "192.0.2.1", "hostnames": ["index.example"]}
    ]
    assert aliases(render(spec(index_host="192.0.2.1"), templates)) == []


def test_certificates_are_checked_where_there_are_any(spec: MakeSpec, templates: Templates) -> None:
    plain = one(render(spec(), templates).seal, "ConfigMap", "package-settings")["data"]
    assert plain["PIP_TRUSTED_HOST"] == plain["UV_INSECURE_HOST"] == "index.example"
    url = "https://name:token@index.example:8081/simple/"
    secure = one(render(spec(index_url=url), templates).seal, "ConfigMap", "package-settings")["data"]
    assert secure["PIP_TRUSTED_HOST"] == secure["UV_INSECURE_HOST"] == ""


def test_the_probe_is_told_every_target(spec: MakeSpec, templates: Templates) -> None:
    container = render(spec(), templates).probe[0]["spec"]["containers"][0]
    assert probe_targets(render(spec(), templates)) == [
        ["api-server", "192.0.2.9", 6443, "tcp", "blocked"],
        ["cluster-dns", "10.96.0.10", 53, "udp", "open"],
        ["index", "192.0.2.1", 8081, "tcp", "open"],
        ["index", "2001:db8::1", 8081, "tcp", "open"],
    ]
    compile(container["args"][0], "probe", "exec")


def probe_targets(rendered: Rendered) -> list[list[Any]]:
    (variable,) = rendered.probe[0]["spec"]["containers"][0]["env"]
    targets: list[list[Any]] = json.loads(variable["value"])
    return targets


def test_another_node_makes_another_probe_but_no_other_sandbox(spec: MakeSpec, templates: Templates) -> None:
    before = render(spec(), templates)
    after = render(spec(blocked_targets=(Target("kubelet", "192.0.2.8", 10250),)), templates)
    assert after.spec_hash == before.spec_hash
    hashes = [each.probe[0]["metadata"]["labels"][Labels.SPEC_HASH] for each in (before, after)]
    assert hashes[0] != hashes[1]


def test_each_run_of_the_probe_has_its_name(spec: MakeSpec, templates: Templates) -> None:
    assert render(spec(), templates).probe[0]["metadata"]["labels"][Labels.RUN] == "opening"
    later = render(spec(run="1790000000000"), templates)
    assert later.probe[0]["metadata"]["labels"][Labels.RUN] == "1790000000000"
    assert later.spec_hash == render(spec(), templates).spec_hash


def pods(rendered: Rendered) -> list[dict[str, Any]]:
    """The PodSpecs of the workspace and of the probe."""
    return [rendered.workspace[0]["spec"]["template"]["spec"], rendered.probe[0]["spec"]]


def keys(value: Any) -> set[str]:
    """Every key at any depth."""
    if isinstance(value, dict):
        return {*value, *(key for item in value.values() for key in keys(item))}
    return {key for item in value for key in keys(item)} if isinstance(value, list) else set()


def test_every_pod_is_restricted(spec: MakeSpec, templates: Templates) -> None:
    for pod in pods(render(spec(), templates)):
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("profile", ["python", "notebook", "data-science", "gpu"])
def test_nothing_in_a_sandbox_gets_a_token_of_the_cluster(
    spec: MakeSpec, templates: Templates, profile: str
) -> None:
    rendered = render(spec(profile=profile), templates)
    assert one(rendered.seal, "ServiceAccount", "sandbox")["automountServiceAccountToken"] is False
    for pod in pods(rendered):
        assert pod["serviceAccountName"] == "sandbox"
        assert pod["automountServiceAccountToken"] is False
        assert "serviceAccountToken" not in keys(pod)  # nor by a projected volume


@pytest.mark.parametrize("profile", ["python", "notebook", "data-science", "gpu"])
def test_no_pod_touches_its_node(spec: MakeSpec, templates: Templates, profile: str) -> None:
    forbidden = {
        *("hostPath", "hostNetwork", "hostPID", "hostIPC", "hostPort", "hostUsers"),
        *("privileged", "procMount", "volumeDevices", "ephemeralContainers"),
    }
    rendered = render(spec(profile=profile, gpu=1), templates)
    for pod in pods(rendered):
        assert not keys(pod) & forbidden
        assert len(pod["containers"]) == 1


def test_a_runtime_class_is_taken_by_every_pod_or_left_out(spec: MakeSpec, templates: Templates) -> None:
    assert all("runtimeClassName" not in pod for pod in pods(render(spec(), templates)))
    gvisor = render(spec(runtime_class="gvisor"), templates)
    assert [pod["runtimeClassName"] for pod in pods(gvisor)] == ["gvisor", "gvisor"]
    assert gvisor.spec_hash != render(spec(), templates).spec_hash


NODES: dict[str, Any] = {
    "node_selector": {"pool": "sandboxes"},
    "tolerations": ({"key": "sandboxes", "operator": "Exists", "effect": "NoSchedule"},),
}


def test_every_pod_goes_where_the_profile_says(spec: MakeSpec, templates: Templates) -> None:
    """The probe too: on another node it would prove something about another network."""
    assert all(
        "nodeSelector" not in pod and "tolerations" not in pod for pod in pods(render(spec(), templates))
    )
    for pod in pods(render(spec(**NODES), templates)):
        assert pod["nodeSelector"] == {"pool": "sandboxes"}
        assert pod["tolerations"] == [{"key": "sandboxes", "operator": "Exists", "effect": "NoSchedule"}]


@pytest.mark.parametrize(
    ("field", "lines"),
    [
        ("nodeSelector", "  nodeSelector: {pool: sandboxes}\n"),
        ("tolerations", "  tolerations: [{key: sandboxes, operator: Exists}]\n"),
    ],
)
def test_a_workspace_of_ones_own_goes_there_too(root: Path, field: str, lines: str) -> None:
    path = root / "profiles" / "python.yaml"
    text = path.read_text().rstrip() + "\n" + lines
    hole = {"nodeSelector": "node_selector"}.get(field, field)
    path.write_text(text + OWN_POD % f"{field}: ${{{hole}}}")
    assert check_templates(root) == []
    path.write_text(text + OWN_POD % "restartPolicy: Never")
    (problem,) = check_templates(root)
    assert f"python.yaml:{len(text.splitlines()) + 6}: the pod needs {field}" in problem


OWN_POD = """---
apiVersion: v1
kind: Pod
metadata:
  name: workspace-0
spec:
  %s
  containers: [{name: own, image: "${image}"}]
"""


def test_a_workspace_of_ones_own_takes_the_runtime_class_too(root: Path) -> None:
    path = root / "profiles" / "python.yaml"
    text = path.read_text().rstrip() + "\n  runtimeClass: gvisor\n"
    path.write_text(text + OWN_POD % "runtimeClassName: ${runtime_class}")
    assert check_templates(root) == []
    for line in ("restartPolicy: Never", "runtimeClassName: other"):
        path.write_text(text + OWN_POD % line)
        (problem,) = check_templates(root)
        assert f"python.yaml:{len(text.splitlines()) + 6}: the pod needs runtimeClassName" in problem


def test_a_profile_may_bring_its_own_workspace(spec: MakeSpec, root: Path) -> None:
    path = root / "profiles" / "python.yaml"
    own = "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: own\n"
    path.write_text(path.read_text() + own + OWN_POD % "restartPolicy: Always")
    rendered = render(spec(), load_templates(root))
    assert [item["metadata"]["name"] for item in rendered.workspace] == ["own", "workspace-0"]


@pytest.mark.parametrize(
    ("kind", "name", "problems"),
    [
        ("StatefulSet", "workspace", 0),
        ("StatefulSet", "other", 1),
        # The pods of a deployment have no name to be entered by.
        ("Deployment", "workspace", 1),
    ],
)
def test_the_owner_can_enter_a_workspace_of_ones_own(root: Path, kind: str, name: str, problems: int) -> None:
    path = root / "profiles" / "python.yaml"
    text = path.read_text()
    path.write_text(f"{text}---\napiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: {name}\n")
    line = len(text.splitlines()) + 3
    found = check_templates(root)
    assert len(found) == problems, found
    assert all(f"python.yaml:{line}: the workspace makes no pod workspace-0" in each for each in found)


OPEN_POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: open
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
    - %s
"""


def peer_policy(direction: str, peer: str) -> str:
    """A policy with one rule for one peer, whose first field stands in line 11."""
    entry = "egress:\n    - to" if direction == "egress" else "ingress:\n    - from"
    head = OPEN_POLICY.partition("  egress:")[0].replace("[Egress]", f"[{direction.title()}]")
    return f"{head}  {entry}:\n        # whom\n        - {peer}\n"


OBJECT = "apiVersion: v1\nkind: %s\nmetadata:\n  name: x\n"


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("23-open.yaml", OPEN_POLICY % "{}", 9, "would allow everything"),
        ("23-open.yaml", OPEN_POLICY % "to: []", 9, "would allow everything"),
        ("23-open.yaml", OPEN_POLICY % "to: [{}]", 9, "would allow everything"),
        ("23-open.yaml", OPEN_POLICY % "ports: [{port: 53}]", 9, "would allow everything"),
        ("23-open.yaml", OPEN_POLICY.replace("policyTypes: [Egress]", "x: 1") % "{}", 5, "policyTypes"),
        ("33-x.yaml", OBJECT % "RoleBinding", 2, "not made of v1 RoleBinding"),
        ("33-x.yaml", OBJECT % "Node", 2, "not made of v1 Node"),
        ("33-x.yaml", OBJECT % "Namespace", 2, "one Namespace"),
        ("33-x.yaml", "apiVersion: rbac.authorization.k8s.io/v1\n" + (OBJECT % "Role")[15:], 2, "belong"),
        ("61-x.yaml", OBJECT % "ConfigMap", 2, "does not belong to the access"),
        ("33-x.yaml", "kind: ConfigMap\nmetadata:\n  name: x\n", 1, "apiVersion is missing"),
        ("33-x.yaml", "apiVersion: v1\nmetadata:\n  name: x\n", 1, "kind is missing"),
        ("33-x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", 3, "metadata.name is missing"),
        ("33-x.yaml", OBJECT % "ConfigMap" + "data:\n  a: ${token}\n", 6, "unknown placeholder ${token}"),
        ("33-x.yaml", "a: [\n", 2, "bad YAML"),
        ("20-zz.yaml", OBJECT % "ConfigMap", 1, "number 20 is taken"),
        ("x.yaml", OBJECT % "ConfigMap", 1, "NN-kind.yaml"),
        ("70-x.yaml", OBJECT % "ConfigMap", 1, "end at 69"),
    ],
)
def test_a_bad_template_is_named(root: Path, name: str, text: str, line: int, message: str) -> None:
    (root / "sandbox" / name).write_text(text)
    problems = check_templates(root)
    assert problems
    if message != "one Namespace":
        assert any(f"{name}:{line}: " in problem for problem in problems), problems
    assert any(message in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("peer", "message"),
    [
        ("ipBlock: {cidr: 0.0.0.0/0}", "0.0.0.0/0 would reach or admit too much: /8 at most"),
        ("ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}", "too much"),
        ("ipBlock: {cidr: 0.0.0.0/0.0.0.0}", "too much"),
        ("ipBlock: {cidr: 128.0.0.0/1}", "too much"),
        ("ipBlock: {cidr: 10.0.0.0/7}", "too much"),
        ("ipBlock: {cidr: '::/0'}", "::/0 would reach or admit too much: /32 at most"),
        ("ipBlock: {cidr: '2000::/3'}", "too much"),
        ("ipBlock: {cidr: '::ffff:0:0/96'}", "which stays closed"),
        ("ipBlock: {cidr: 169.254.169.254/32}", "holds 169.254.169.254/32, which stays closed"),
        ("ipBlock: {cidr: 169.254.0.0/16}", "which stays closed"),
        ("ipBlock: {cidr: 'fd00:ec2::/48'}", "which stays closed"),
        ("ipBlock: {cidr: 0}", "0 is no block"),
        ("ipBlock: {cidr: ''}", "'' is no block"),
        ("ipBlock: {cidr: everywhere}", "'everywhere' is no block"),
        ("ipBlock: {}", "None is no block"),
        ("ipBlock: 0.0.0.0/0", "is no block"),
        ("namespaceSelector: {}", "this namespaceSelector would select everybody"),
        ("podSelector: {}", "this podSelector would select everybody"),
        ("namespaceSelector: {}\n          podSelector: {}", "everybody"),
        # Every neighbour's workspace is labelled like ours.
        ("namespaceSelector: {}\n          podSelector: {matchLabels: {app: workspace}}", "everybody"),
        ("namespaceSelector: {matchLabels: {}}", "everybody"),
        ("namespaceSelector: {matchExpressions: []}", "everybody"),
        ("namespaceSelector: {matchExpressions: [{key: x, operator: DoesNotExist}]}", "everybody"),
        ("namespaceSelector: {matchExpressions: [{key: x, operator: NotIn, values: [y]}]}", "everybody"),
        ("podSelector: {matchExpressions: [{key: petridish.dev/sandbox, operator: Exists}]}", "everybody"),
        ("podSelector: null", "a peer must be"),
        ("podselector: {matchLabels: {a: b}}", "a peer must be"),
    ],
)
@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_a_rule_may_not_mean_everybody(root: Path, direction: str, peer: str, message: str) -> None:
    (root / "sandbox" / "23-open.yaml").write_text(peer_policy(direction, peer))
    problems = check_templates(root)
    assert problems
    assert all("23-open.yaml:11: " in problem for problem in problems), problems
    assert all(message in problem for problem in problems), problems


@pytest.mark.parametrize(
    "peer",
    [
        "ipBlock: {cidr: 198.51.100.7/32}",
        "ipBlock: {cidr: 10.0.0.0/8}",
        "ipBlock: {cidr: '2001:db8::/32'}",
        "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}",
        "namespaceSelector: {matchLabels: {a: b}}\n          podSelector: {}",
        "namespaceSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}",
        "podSelector: {matchLabels: {app: workspace}}",
    ],
)
@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_a_rule_may_name_somebody(root: Path, direction: str, peer: str) -> None:
    (root / "sandbox" / "23-open.yaml").write_text(peer_policy(direction, peer))
    assert check_templates(root) == []


def test_every_peer_of_every_rule_is_looked_at(root: Path) -> None:
    good = "ipBlock: {cidr: 198.51.100.7/32}"
    text = peer_policy("egress", good) + f"        - {good}\n    - to:\n        - {good}\n        - %s\n"
    path = root / "sandbox" / "23-open.yaml"
    path.write_text(text % good)
    assert check_templates(root) == []
    path.write_text(text % "podSelector: {}")
    assert all("23-open.yaml:15: " in problem for problem in check_templates(root))
    assert check_templates(root)


SECURITY = "    pod-security.kubernetes.io/%s: %s\n"


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "message"),
    [
        *(
            ("00-namespace.yaml", SECURITY % (mode, "restricted"), new, line, f"{mode} must be restricted")
            for mode, there in (("enforce", 7), ("audit", 9), ("warn", 11))
            for new, line in (
                (SECURITY % (mode, "privileged"), there),
                (SECURITY % (mode, "baseline"), there),
                (SECURITY % (mode, "Restricted"), there),
                ("", 6),  # without the label, where it should have been
            )
        ),
        ("00-namespace.yaml", "  labels:\n", "  labels:\n  annotations:\n", 6, "must be restricted"),
        ("10-quota.yaml", "kind: ResourceQuota", "kind: ConfigMap", None, "has no ResourceQuota"),
        ("11-limits.yaml", "kind: LimitRange", "kind: ConfigMap", None, "has no LimitRange"),
        ("10-quota.yaml", "  hard:\n", "  hard: {}\n  x:\n", 7, "without spec.hard limits nothing"),
        ("10-quota.yaml", "  hard:\n", "  soft:\n", 6, "without spec.hard limits nothing"),
        ("11-limits.yaml", "  limits:\n", "  limits: []\n  x:\n", 7, "without spec.limits limits nothing"),
    ],
)
def test_a_seal_lacks_nothing(
    root: Path, name: str, old: str, new: str, line: int | None, message: str
) -> None:
    path = root / "sandbox" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    problems = check_templates(root)
    assert problems
    # What is missing altogether is missed where the seal begins.
    place = f"{name}:{line}: " if line else "00-namespace.yaml:2: "
    assert all(place in problem and message in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Applied after the seal's, and under the same names, these would take their places.
        (
            OPEN_POLICY.replace("name: open", "name: deny-all") % "to: [{ipBlock: {cidr: 192.0.2.1/32}}]",
            "replace",
        ),
        (OBJECT.replace("name: x", "name: sandbox") % "ServiceAccount", "would replace that of 30-service"),
        (OBJECT % "Namespace", "Namespace does not belong to the workspace"),
    ],
)
def test_a_workspace_of_ones_own_leaves_the_seal_alone(root: Path, text: str, message: str) -> None:
    path = root / "profiles" / "python.yaml"
    path.write_text(path.read_text() + "---\n" + text)
    (problem,) = check_templates(root)
    assert "python.yaml:" in problem
    assert message in problem


@pytest.mark.parametrize(
    ("resources", "verbs", "more", "message"),
    [
        ("pods/exec", "get", "", "without resourceNames this rule opens the probe's pod too"),
        ("pods/attach", "create", "", "without resourceNames"),
        ("pods/exec", "create", "resourceNames: [probe]", "makes no pod probe"),
        ("pods/exec", "create", "resourceNames: [workspace-0, probe]", "makes no pod probe"),
        ("pods/*", "create", "resourceNames: [workspace-0]", "only see things"),
        ('"*"', "get", "", "only see things"),
        ("nodes/proxy", "get", "resourceNames: [workspace-0]", "only see things"),
        ("pods", "create", "", "only see things"),
        ("pods", "create", "resourceNames: [workspace-0]", "only see things"),
        ("statefulsets", "patch", "", "only see things"),
        ("pods/exec, pods", "get, create", "resourceNames: [workspace-0]", "only see things"),
        ("pods/exec", "create", "resourceNames: [workspace-0]", ""),
        ("events, pods", "list", "", ""),
    ],
)
def test_no_role_opens_the_probes_pod(
    root: Path, resources: str, verbs: str, more: str, message: str
) -> None:
    rule = f'{{apiGroups: [""], resources: [{resources}], verbs: [{verbs}]{", " if more else ""}{more}}}'
    head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: more\n"
    (root / "sandbox" / "61-more.yaml").write_text(f"{head}rules:\n  - {rule}\n")
    problems = check_templates(root)
    assert bool(problems) is bool(message), problems
    assert all(message in problem for problem in problems), problems
    assert "makes no pod" in message or all("61-more.yaml:6: " in problem for problem in problems)


def test_no_role_of_the_whole_cluster_is_bound(root: Path) -> None:
    """ "edit" and "admin" of every cluster enter all pods."""
    path = root / "sandbox" / "60-access.yaml"
    path.write_text(path.read_text().replace("kind: Role\n  name: owner", "kind: ClusterRole\n  name: edit"))
    problems = check_templates(root)
    assert problems
    assert all("only a Role of the sandbox's own may be bound" in problem for problem in problems)


def test_without_a_policy_that_denies_all_nothing_renders(root: Path) -> None:
    (root / "sandbox" / "20-deny-all.yaml").unlink()
    assert any("denies all traffic" in problem for problem in check_templates(root))


def test_one_bad_file_hides_no_other(root: Path) -> None:
    (root / "sandbox" / "33-x.yaml").write_text("a: [\n")
    (root / "profiles" / "python.yaml").write_text("b: [\n")
    assert len(check_templates(root)) == 2
    with pytest.raises(TemplateError):
        load_templates(root)


def test_rendering_imports_no_kubernetes() -> None:
    """It costs a second, and the web and index processes render."""
    code = "import sys, sandboxes.cluster.render; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, check=False).returncode == 0
