"""What is rendered for a sandbox: its seal, its exceptions, and its secret."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster.render import Rendered, Templates, check_templates, render
from sandboxes.cluster.spec import DnsAddress, EgressBlock, KubeObject, Labels, Target
from sandboxes.errors import InvalidInputError
from tests.sandboxes.cluster.conftest import ROOT
from tests.sandboxes.cluster.rendering import MakeSpec, one, pods


def everything(rendered: Rendered) -> list[KubeObject]:
    return [*rendered.seal, *rendered.workspace, *rendered.probe, *rendered.access]


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
        *("ServiceAccount", "Secret", "ConfigMap", "Secret"),
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
    [volume] = [each for each in pod["volumes"] if each["name"] == "npm"]
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


def test_rendering_imports_no_kubernetes() -> None:
    """It costs a second, and the web and index processes render."""
    code = "import sys, sandboxes.cluster.render; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, check=False).returncode == 0


BAIT = {
    "aws-credentials": "key",
    "aws-config": "url",
    "ssh-key": "k",
    "ssh-key-public": "p",
    "ssh-config": "c",
    "pypirc": "t",
}


def test_bait_is_a_secret_that_the_workspace_has_whole(spec: MakeSpec, templates: Templates) -> None:
    rendered = render(spec(bait=BAIT), templates)
    data = one(rendered.seal, "Secret", "home")["data"]
    assert {name: base64.b64decode(text).decode() for name, text in data.items()} == BAIT
    pod = rendered.workspace[0]["spec"]["template"]["spec"]
    [volume] = [each for each in pod["volumes"] if each["name"] == "home"]
    assert {item["key"] for item in volume["secret"]["items"]} == BAIT.keys()
    assert "home" in [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
    # It is secret, so it is part of no hash; and the pod that tests the seal has none of it.
    assert rendered.spec_hash == render(spec(), templates).spec_hash
    assert "home" not in str(rendered.probe)


def test_the_workspace_puts_bait_where_a_thief_looks(
    spec: MakeSpec, templates: Templates, tmp_path: Path
) -> None:
    """The real script's part of it, run by a real shell, on a volume as a node makes one: links, and read-only."""
    rendered = render(spec(bait=BAIT), templates)
    pod = rendered.workspace[0]["spec"]["template"]["spec"]
    [volume] = [each for each in pod["volumes"] if each["name"] == "home"]
    mount, home = tmp_path / "mount", tmp_path / "workspace"
    home.mkdir()
    for item in volume["secret"]["items"]:
        file = mount / "..data" / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(BAIT[item["key"]])
        file.chmod(0o440)
    for entry in (mount / "..data").iterdir():
        (mount / entry.name).symlink_to(f"..data/{entry.name}")
    (home / ".pypirc").write_text("mine")
    [script] = pod["containers"][0]["args"]
    part = script[script.index("( umask 077") :].partition(") 2>/dev/null\n")[0] + ")"
    part = part.replace("/etc/petridish-home", str(mount)).replace("/workspace", str(home))
    for _ in range(2):
        subprocess.run(["/bin/sh", "-euc", part], check=True, capture_output=True)
    assert (home / ".aws" / "credentials").read_text() == "key"
    assert (home / ".pypirc").read_text() == "mine"
    key = home / ".ssh" / "id_ed25519"
    assert not key.is_symlink()
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o077 == 0
