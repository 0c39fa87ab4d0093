"""The ClusterRole that we ship grants what the driver does, and nothing that it does not."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from sandboxes.cluster import capabilities
from sandboxes.cluster.api import Api
from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.platform import needed_rules
from sandboxes.cluster.render import Templates
from sandboxes.cluster.spec import KubeObject
from tests.cluster import scenario
from tests.cluster.conftest import Subject
from tests.simulator import ROOT, Simulator

type Use = tuple[str, str, str]

# Everything that the driver can be asked to do, but to hang up, for which no request is made.
METHODS = {
    name for name, _ in inspect.getmembers(Cluster, inspect.isfunction) if not name.startswith("_")
} - {"close"}
_OBJECT_VERBS = {"GET": "get", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


def use(method: str, path: str, query: Mapping[str, str]) -> Use | None:
    """(verb, API group, resource) of a request, as the API server would ask about it; None if everybody may.

    https://kubernetes.io/docs/reference/access-authn-authz/authorization/, "Request attributes".
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, rest = "", parts[2:]
    else:
        group, rest = (parts[1] if len(parts) > 1 else ""), parts[3:]
    if not rest or rest[0].startswith("selfsubject"):  # discovery, and questions about oneself
        return None
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    name, part = (*rest[1:], "", "")[:2]
    resource = f"{rest[0]}/{part}" if part else rest[0]
    verb = (_OBJECT_VERBS if name else _COLLECTION_VERBS)[method]
    return ("watch" if query.get("watch") else verb), group, resource


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[Use]:
    """Every request of the test, in the words of a role."""
    found: set[Use] = set()
    answer = Api._answer

    def recording(
        api: Api, method: str, path: str, query: Mapping[str, str] | None = None, *rest: Any, **more: Any
    ) -> Any:
        asked = use(method, path, query or {})
        if asked is not None:
            found.add(asked)
            # What is applied and not there is created, for which the server asks for that right too.
            if method == "PATCH" and "apply-patch" in str((*rest, *more.values())):
                found.add(("create", *asked[1:]))
        return answer(api, method, path, query, *rest, **more)

    monkeypatch.setattr(Api, "_answer", recording)
    return found


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every public method of the driver that the test called, by its name."""
    found: set[str] = set()
    for name in METHODS:
        monkeypatch.setattr(Cluster, name, noting(found, name, getattr(Cluster, name)))
    return found


def noting(found: set[str], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, which writes down that it was called."""

    def noted(*given: Any, **named: Any) -> Any:
        found.add(name)
        return method(*given, **named)

    return noted


def test_every_call_is_granted_and_every_grant_is_called(
    used: set[Use], called: set[str], templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Simulator(tmp_path_factory.mktemp("simulator"), "--delete-seconds", "0.1") as simulator:
        cluster = connect("simulated", str(simulator.kubeconfig), None)
        subject = Subject(
            cluster, True, str(simulator.kubeconfig), "python:3", "127.0.0.1", 8081, templates, "least"
        )
        volume: KubeObject = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "left"},
            "spec": {"claimRef": {"namespace": "sbx-gone", "name": "x"}},
        }
        cluster.api.create("/api/v1/persistentvolumes", volume)
        used.clear()  # that was the test
        called.clear()
        scenario.everything(subject)
        assert METHODS - called == set(), "the scenario lacks these, so nobody knows what rights they take"
        capabilities.survey(cluster)
        cluster.close()
    granted = {rule[:3] for rule in needed_rules(ROOT / "k8s-templates")}
    assert used - granted == set(), "the ClusterRole lacks these"
    assert granted - used - owners() == set(), "the ClusterRole grants these for nothing"


def owners() -> set[Use]:
    """What a sandbox's owner is granted: nobody can grant what he does not hold."""
    return {rule[:3] for rule in owned()}


def owned() -> set[tuple[str, str, str, str]]:
    """The same with the name of what it is granted for, "" for any."""
    documents = yaml.safe_load_all((ROOT / "k8s-templates/sandbox/60-access.yaml").read_text())
    return {
        (verb, group, resource, name)
        for document in documents
        for rule in document.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ("",))
    }


def test_the_second_role_is_exactly_the_owners(templates: Templates) -> None:
    documents = yaml.safe_load_all((ROOT / "k8s-templates/platform/10-role.yaml").read_text())
    grants = next(document for document in documents if document["metadata"]["name"].endswith("-grants"))
    found = {
        (verb, group, resource, name)
        for rule in grants["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ("",))
    }
    assert found == owned()


def test_no_rule_has_a_wildcard() -> None:
    assert not [rule for rule in needed_rules(ROOT / "k8s-templates") if "*" in "".join(rule)]


@pytest.mark.parametrize(
    ("method", "path", "query", "wanted"),
    [
        ("GET", "/api/v1/namespaces/x", {}, ("get", "", "namespaces")),
        ("GET", "/api/v1/namespaces", {}, ("list", "", "namespaces")),
        ("DELETE", "/api/v1/namespaces/x/pods", {}, ("deletecollection", "", "pods")),
        ("GET", "/api/v1/namespaces/x/pods/y/log", {}, ("get", "", "pods/log")),
        ("PATCH", "/apis/apps/v1/namespaces/x/deployments/y", {}, ("patch", "apps", "deployments")),
        (
            "GET",
            "/apis/networking.k8s.io/v1/networkpolicies",
            {"watch": "true"},
            ("watch", "networking.k8s.io", "networkpolicies"),
        ),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, None),
        ("GET", "/version", {}, None),
        ("GET", "/apis", {}, None),
        ("GET", "/apis/admissionregistration.k8s.io/v1", {}, None),
    ],
)
def test_requests_in_the_words_of_a_role(
    method: str, path: str, query: dict[str, str], wanted: Use | None
) -> None:
    assert use(method, path, query) == wanted
