"""The pods that are rendered: restricted, placed, and without a way into the cluster or its nodes."""

from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster.render import Templates, check_templates, load_templates, render
from sandboxes.cluster.spec import Labels, Target
from tests.sandboxes.cluster.rendering import MakeSpec, one, pods


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
