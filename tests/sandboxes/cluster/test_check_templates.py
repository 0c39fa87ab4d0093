"""Templates that an admin may write: a seal lacks nothing, and what is wrong is named."""

from pathlib import Path

import pytest

from sandboxes.cluster.render import check_templates, load_templates
from sandboxes.errors import TemplateError

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
    path = root / "sandbox" / "20-deny-all.yaml"
    path.write_text(peer_policy("egress", "ipBlock: {cidr: 192.0.2.1/32}").replace("open", "deny-all"))
    assert any("denies all traffic" in problem for problem in check_templates(root))
    path.unlink()
    assert any("the seal has no NetworkPolicy 'deny-all'" in problem for problem in check_templates(root))


def test_one_bad_file_hides_no_other(root: Path) -> None:
    (root / "sandbox" / "33-x.yaml").write_text("a: [\n")
    (root / "profiles" / "python.yaml").write_text("b: [\n")
    assert len(check_templates(root)) == 2
    with pytest.raises(TemplateError):
        load_templates(root)
