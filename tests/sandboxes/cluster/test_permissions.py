"""What we may do, as the cluster says it: a right for one name is none for the others."""

import json
from typing import Any

import pytest

from sandboxes.cluster.capabilities import survey
from sandboxes.cluster.driver import Cluster
from tests.sandboxes.cluster.stub import Answer, Stub, found, status

EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
ENTERING = {"verbs": ["create", "get"], "apiGroups": [""], "resources": ["pods/exec"]}


def answering(stub: Stub, rules: list[dict[str, Any]], *, incomplete: bool = False) -> None:
    """A server that knows these rules, and otherwise nothing; asked one by one, it lets only workspace-0 be entered."""

    def answer(method: str, path: str) -> Answer:
        if "selfsubjectrulesreviews" in path:
            return found({"status": {"resourceRules": rules, "incomplete": incomplete}})
        if "selfsubjectaccessreviews" in path:
            asked = json.loads(stub.bodies[-1])["spec"]["resourceAttributes"]
            return found({"status": {"allowed": asked["name"] == "workspace-0"}})
        if "selfsubjectreviews" in path:
            return found({"status": {"userInfo": {"username": "petridish"}}})
        if method == "GET" and path.partition("?")[0] in ("/version", "/apis"):
            return found({"gitVersion": "v1.36.2"})
        return status(404 if path.startswith("/apis/admission") else 403, "no")

    stub.answer = answer


@pytest.mark.parametrize(
    ("names", "allowed"), [(["workspace-0"], True), (["other", "workspace-0"], True), (["other"], False)]
)
def test_entering_is_granted_by_name(
    stub: tuple[Stub, int], cluster: Cluster, names: list[str], allowed: bool
) -> None:
    answering(stub[0], [{**ENTERING, "resourceNames": names}])
    entering = [each for each in survey(cluster).permissions if each.resource == "pods/exec"]
    assert {each.allowed for each in entering} == {allowed}


def test_a_right_for_one_name_is_none_for_all(stub: tuple[Stub, int], cluster: Cluster) -> None:
    answering(stub[0], [{**EVERYTHING, "resourceNames": ["workspace-0"]}])
    allowed = {each.resource for each in survey(cluster).permissions if each.allowed}
    assert allowed == {"pods/exec", "pods/log", "pods/portforward"}
    answering(stub[0], [EVERYTHING])
    assert survey(cluster).missing == ()


def test_one_by_one_the_name_is_asked_for(stub: tuple[Stub, int], cluster: Cluster) -> None:
    answering(stub[0], [], incomplete=True)
    allowed = {each.resource for each in survey(cluster).permissions if each.allowed}
    assert allowed == {"pods/exec", "pods/log", "pods/portforward"}
