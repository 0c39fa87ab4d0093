"""The platform manifests, as far as they can be judged without a cluster: whole, bound, and well-formed."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandboxes.cluster.capabilities import survey
from sandboxes.cluster.driver import connect
from sandboxes.cluster.names import PROBE_POD
from sandboxes.cluster.platform import PLATFORM, Platform, render_platform, whoami, written
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import InvalidInputError
from tests.simulator import ROOT, Simulator

TEMPLATES = ROOT / "k8s-templates"
GIVEN = Platform("inst-1", ("registry.example:5000/team", "docker.io/library/"))
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_PAIRS = {")": "(", "]": "[", "}": "{"}


@pytest.fixture(scope="module")
def objects() -> list[KubeObject]:
    return render_platform(TEMPLATES, GIVEN)


def policies(objects: list[KubeObject]) -> list[KubeObject]:
    return [item for item in objects if item["kind"] == "ValidatingAdmissionPolicy"]


def expressions(policy: KubeObject) -> Iterator[str]:
    spec = policy["spec"]
    for entry in (*spec.get("matchConditions", ()), *spec.get("variables", ()), *spec["validations"]):
        yield entry["expression"]
        if "messageExpression" in entry:
            yield entry["messageExpression"]


def unbalanced(expression: str) -> str:
    """What is wrong with the brackets and quotes of a CEL expression; empty if nothing is."""
    rest, stack = _STRING.sub("''", expression), []
    if "'" in rest.replace("''", "") or '"' in rest:
        return "an open quote"
    for character in rest:
        if character in _PAIRS.values():
            stack.append(character)
        elif character in _PAIRS and (not stack or stack.pop() != _PAIRS[character]):
            return f"a {character} too many"
    return f"{stack} left open" if stack else ""


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("a.all(x, x == ')')", True),
        ("a(", False),
        ("a)", False),
        ("(]", False),
        ("'a", False),
        ('"a\\""', True),
    ],
)
def test_the_check_of_brackets_itself(expression: str, fine: bool) -> None:
    assert (unbalanced(expression) == "") is fine


def test_every_expression_is_balanced_and_names_only_what_it_defined(objects: list[KubeObject]) -> None:
    for policy in policies(objects):
        known = {variable["name"] for variable in policy["spec"].get("variables", ())}
        for expression in expressions(policy):
            assert unbalanced(expression) == "", expression
            assert set(re.findall(r"variables\.(\w+)", expression)) <= known, expression
            assert "${" not in expression


def test_every_policy_fails_closed_denies_and_says_why(objects: list[KubeObject]) -> None:
    bound = {
        item["spec"]["policyName"]: item["spec"]["validationActions"]
        for item in objects
        if item["kind"] == "ValidatingAdmissionPolicyBinding"
    }
    found = policies(objects)
    assert len(found) == 6
    for policy in found:
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert bound[policy["metadata"]["name"]] == ["Deny"]
        assert all(
            rule["message"] and rule["reason"] == "Forbidden" for rule in policy["spec"]["validations"]
        )
        assert policy["metadata"]["labels"][PLATFORM] == "inst-1"
    assert len(bound) == len(found)


def test_every_policy_is_about_this_installation_or_about_petridish_only(objects: list[KubeObject]) -> None:
    """A mistake here would lock other people out of their own namespaces."""
    for policy in policies(objects):
        spec, match = policy["spec"], policy["spec"]["matchConstraints"]
        selectors = [match.get("namespaceSelector"), match.get("objectSelector")]
        about_us = {"matchLabels": {Labels.INSTALLATION: "inst-1"}} in selectors
        conditions = [entry["expression"] for entry in spec.get("matchConditions", ())]
        by_us = f'request.userInfo.username == "{GIVEN.user}"' in conditions
        assert about_us or by_us, policy["metadata"]["name"]


def test_nobody_is_kept_from_entering_his_own_pods(objects: list[KubeObject]) -> None:
    for policy in policies(objects):
        if policy["metadata"]["name"].endswith("-reach"):
            continue
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]:
            if policy["metadata"]["name"].endswith("-probe"):
                entering, changing = (each["expression"] for each in policy["spec"]["validations"])
                assert entering == "!variables.entering || !variables.named"
                assert changing.startswith("variables.entering || variables.ours || ")
            else:
                assert "CONNECT" not in rule["operations"]


def test_the_probes_name_in_the_policy_is_the_drivers(objects: list[KubeObject]) -> None:
    (probe,) = (item for item in policies(objects) if item["metadata"]["name"].endswith("-probe"))
    (named,) = (each["expression"] for each in probe["spec"]["variables"] if each["name"] == "named")
    assert f'== "{PROBE_POD}" ' in named
    written = {
        (operation, resource)
        for rule in probe["spec"]["matchConstraints"]["resourceRules"]
        for operation in rule["operations"]
        for resource in rule["resources"]
    }
    changes = {(how, what) for how in ("CREATE", "UPDATE") for what in ("pods", "pods/ephemeralcontainers")}
    assert changes <= written


@pytest.mark.parametrize(
    "group",
    [
        "networking.k8s.io",
        "cilium.io",
        "crd.projectcalico.org",
        "projectcalico.org",
        "policy.networking.k8s.io",
    ],
)
def test_no_kind_of_network_policy_is_forgotten(objects: list[KubeObject], group: str) -> None:
    (seal,) = (item for item in policies(objects) if item["metadata"]["name"].endswith("-seal"))
    match = seal["spec"]["matchConstraints"]
    (rule,) = (rule for rule in match["resourceRules"] if group in rule["apiGroups"])
    assert set(rule["operations"]) == {"CREATE", "UPDATE", "DELETE"}
    assert rule["apiVersions"] == ["*"]
    assert rule["resources"] == (["networkpolicies"] if group == "networking.k8s.io" else ["*"])
    # Cilium's agents write one for every pod, which would not come up without.
    assert [each["resources"] for each in match["excludeResourceRules"]] == [["ciliumendpoints"]]


def test_petridishs_own_namespace_is_no_sandbox(objects: list[KubeObject]) -> None:
    (namespace,) = (item for item in objects if item["kind"] == "Namespace")
    assert not [label for label in namespace["metadata"]["labels"] if label.startswith("petridish.dev/")]


def test_registries_are_whole_segments(objects: list[KubeObject]) -> None:
    (workloads,) = (item for item in policies(objects) if item["metadata"]["name"].endswith("-workloads"))
    (registries,) = (
        entry["expression"] for entry in workloads["spec"]["variables"] if entry["name"] == "registries"
    )
    assert registries == '["registry.example:5000/team/", "docker.io/library/"]'
    anything = render_platform(TEMPLATES, replace(GIVEN, registries=()))
    assert '"expression": "[]"' in str(anything).replace("'", '"')
    with pytest.raises(InvalidInputError, match="not a registry"):
        render_platform(TEMPLATES, replace(GIVEN, registries=("team",)))


@pytest.mark.parametrize("user", ['x" || true || "', "x' || true", "a\\", "${name}"])
def test_no_name_becomes_part_of_a_rule(user: str) -> None:
    for policy in policies(render_platform(TEMPLATES, replace(GIVEN, user=f"system:serviceaccount:{user}"))):
        for expression in expressions(policy):
            assert unbalanced(expression) == ""
            assert "true ||" not in _STRING.sub("''", expression)


def test_a_person_who_runs_petridish_is_not_locked_out_of_everything_else() -> None:
    found = render_platform(TEMPLATES, replace(GIVEN, user="kubernetes-admin"))
    names = {item["metadata"]["name"] for item in policies(found)}
    assert "petridish-reach" not in names
    assert "petridish-seal" in names
    bindings = [item for item in found if item["kind"] == "ClusterRoleBinding"]
    assert {item["subjects"][0]["name"] for item in bindings} == {"kubernetes-admin"}


def test_names_are_unique_and_two_installations_keep_apart(objects: list[KubeObject]) -> None:
    keys = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(set(keys)) == len(keys)
    other = render_platform(TEMPLATES, replace(GIVEN, name="other", namespace="other"))
    assert not set(keys) & {(item["kind"], item["metadata"]["name"]) for item in other} - {
        ("ServiceAccount", "petridish")
    }


def test_what_is_written_is_read_again(objects: list[KubeObject]) -> None:
    assert list(yaml.safe_load_all(written(objects))) == objects


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as simulator:
        yield simulator


def test_a_cluster_takes_them_and_the_survey_sees_them(
    simulator: Simulator, objects: list[KubeObject]
) -> None:
    cluster = connect("simulated", str(simulator.kubeconfig), None)
    assert survey(cluster).admission == ()
    for item in objects:
        cluster.api.create(_collection(item), item)
    found = survey(cluster)
    assert {policy.name: policy.enforced for policy in found.admission or ()} == {
        policy["metadata"]["name"]: True for policy in policies(objects)
    }
    assert {policy.installation_id for policy in found.admission or ()} == {"inst-1"}
    assert (found.simulated, found.missing, found.metrics) == (True, (), False)
    assert (found.network_policies, found.admission_api) == (True, True)
    assert (found.runtime_classes, found.storage_classes) == ((), ())
    assert len(found.uid) == 36
    assert found.user == whoami(cluster)
    assert [node.ready for node in found.nodes] == [True]
    assert found.allocatable["cpu"] == 64
    cluster.api.delete(
        f"{_collection(policies(objects)[0]).replace('policies', 'policybindings')}/petridish-seal"
    )
    assert {policy.name for policy in survey(cluster).admission or () if not policy.enforced} == {
        "petridish-seal"
    }
    cluster.close()


def _collection(item: dict[str, Any]) -> str:
    version, namespace = item["apiVersion"], item["metadata"].get("namespace")
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = item["kind"].lower().removesuffix("y") + ("ies" if item["kind"].endswith("y") else "s")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
