"""What takes the place of an isolated sandbox's seal: the folder's mistakes, and what comes of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from sandboxes.cluster.differences import label_differences
from sandboxes.cluster.isolated import Whose, load_isolated, policy_names, render_isolated
from sandboxes.cluster.render import Templates, check_templates, load_templates, render
from sandboxes.cluster.spec import Labels
from sandboxes.errors import TemplateError
from tests.sandboxes.cluster.conftest import ROOT
from tests.sandboxes.cluster.rendering import MakeSpec, one

WHOSE = Whose("7", "inst-1", "sbx-alice-python-abc123", "python")
POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: %s\nspec:\n  podSelector: {}\n"
)
DENIES = POLICY + "  policyTypes: [Ingress, Egress]\n"
QUOTA = "apiVersion: v1\nkind: ResourceQuota\nmetadata:\n  name: %s\nspec:\n  hard:\n    pods: 0\n"


def quota_name(templates: Templates, spec: MakeSpec) -> str:
    (quota,) = [item for item in render(spec(), templates).seal if item["kind"] == "ResourceQuota"]
    return str(quota["metadata"]["name"])


def test_it_takes_nothing_but_whose_it_is() -> None:
    (policy,) = render_isolated(load_isolated(ROOT), replace(WHOSE, profile="long-gone"))
    metadata = policy["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("deny-all", WHOSE.namespace)
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert metadata["labels"].keys() == {
        *(Labels.SANDBOX, Labels.INSTALLATION, Labels.PROFILE),
        *(Labels.STAGE, Labels.SPEC_HASH),
    }
    assert (metadata["labels"][Labels.SANDBOX], metadata["labels"][Labels.STAGE]) == ("7", "seal")


def test_what_is_applied_is_what_the_seal_is_compared_with(root: Path, spec: MakeSpec) -> None:
    """Or cutting and mending would take turns for ever."""
    name = quota_name(load_templates(root), spec)
    (root / "isolated" / "10-quota.yaml").write_text(QUOTA % name)
    assert check_templates(root) == []
    templates = load_templates(root)
    seal = render(spec(isolated=True), templates).seal
    applied = render_isolated(templates.isolated, WHOSE)
    assert [item["kind"] for item in applied] == ["NetworkPolicy", "ResourceQuota"], "the policies first"
    for item in applied:
        wanted = one(seal, item["kind"], item["metadata"]["name"])
        assert wanted["spec"] == item["spec"]
        assert label_differences(wanted, item) == label_differences(item, wanted) == []
    assert one(seal, "ResourceQuota", name)["spec"]["hard"] == {"pods": 0}
    assert len({item["metadata"]["name"] for item in seal if item["kind"] == "ResourceQuota"}) == 1
    assert one(render(spec(), templates).seal, "ResourceQuota", name)["spec"]["hard"].keys() > {"pods"}


def test_another_policy_may_stay_if_it_denies(root: Path, spec: MakeSpec) -> None:
    (root / "isolated" / "22-index.yaml").write_text(DENIES % "allow-index")
    templates = load_templates(root)
    assert policy_names(templates.isolated) == {"deny-all", "allow-index"}
    seal = render(spec(isolated=True), templates).seal
    left = {item["metadata"]["name"] for item in seal if item["kind"] == "NetworkPolicy"}
    assert left == {"deny-all", "allow-index"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (POLICY % "allow-dns" + "  policyTypes: [Egress]\n", "must deny all traffic"),
        (DENIES % "allow-dns" + "  egress: [{to: [{ipBlock: {cidr: 192.0.2.1/32}}]}]\n", "must deny all"),
        (DENIES % "allow-dns" + "  egress: [{}]\n", "would allow everything"),
        (DENIES % "another", "the seal has no NetworkPolicy 'another'"),
        (DENIES % "a-${namespace}", "holds a placeholder"),
        (DENIES % "deny-all", "would replace"),
        (QUOTA % "another", "the seal has no ResourceQuota 'another'"),
        ("apiVersion: v1\nkind: Secret\nmetadata:\n  name: home\n", "is given no v1 Secret"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n", "is given no v1 Pod"),
        ("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: x\n", "is given no v1 Namespace"),
        ("kind: [\n", "bad YAML"),
    ],
)
def test_what_may_not_stand_there_is_named(root: Path, text: str, says: str) -> None:
    (root / "isolated" / "30-x.yaml").write_text(text)
    (problem,) = check_templates(root)
    assert "isolated/30-x.yaml:" in problem
    assert says in problem


def test_a_file_has_a_number(root: Path) -> None:
    (root / "isolated" / "x.yaml").write_text(DENIES % "allow-dns")
    assert all("NN-kind.yaml" in problem for problem in check_templates(root))
    assert check_templates(root)


def test_deny_all_has_to_be_there(root: Path) -> None:
    (root / "isolated" / "20-deny-all.yaml").unlink()
    assert any("there must be the NetworkPolicy deny-all" in problem for problem in check_templates(root))
    with pytest.raises(TemplateError):
        load_isolated(root)
