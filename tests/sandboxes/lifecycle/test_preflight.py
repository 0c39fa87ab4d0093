"""What a preflight says of a cluster, and what it costs the cluster: nothing that stays."""

import json
from collections.abc import Iterable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.capabilities import AdmissionPolicy, Capabilities, Permission, survey
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import NAMESPACE
from sandboxes.cluster.spec import Labels, ProbeResult
from sandboxes.errors import ClusterUnavailableError, NotFoundError
from sandboxes.lifecycle import preflight, quota, registry, trial
from sandboxes.lifecycle.models import Alarm, Orphan, RegisteredCluster
from sandboxes.lifecycle.preflight import Line, Report

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def kept() -> dict[str, Report]:
    """A preflight takes seconds: tests that only read its report share one."""
    return {}


@pytest.fixture
def report(cluster: Cluster, kept: dict[str, Report]) -> Report:
    if "report" not in kept:
        kept["report"] = preflight.check("simulated")
    return kept["report"]


def line(report: Report, what: str) -> Line:
    return next(line for line in report.lines if line.what == what)


def trials(cluster: Cluster) -> list[str]:
    """Namespaces of trials that are there, however they are labelled."""
    names = (item["metadata"]["name"] for item in cluster.api.list(NAMESPACE))
    return [name for name in names if name.startswith("petridish-check")]


# ---- a good one


def test_a_good_cluster_is_usable_and_every_line_says_why_it_matters(report: Report) -> None:
    assert report.usable
    assert [each.what for each in report.lines if each.state == "missing"] == []
    assert all(each.found and each.why for each in report.lines)
    assert all(each.remedy for each in report.lines if each.state == "warning")
    for what in ("API", "Permissions", "Nodes", "DNS", "Quotas and limits", "Images", "Seal", "Teardown"):
        assert line(report, what).state == "ok"


def test_a_simulated_cluster_is_called_simulated(report: Report) -> None:
    assert "It is simulated" in line(report, "API").found
    assert "no real network was tried" in line(report, "Seal").found


def test_the_report_is_kept_and_nothing_else_is(cluster: Cluster) -> None:
    found = preflight.check("simulated")
    row = RegisteredCluster.objects.get(name="simulated")
    assert row.report == json.loads(json.dumps(found.as_json()))
    assert row.reported_at is not None
    assert row.uid == cluster.uid()
    assert trials(cluster) == []
    assert not Orphan.objects.exists()
    entry = Entry.objects.get(action="cluster.checked")
    assert (entry.subject, entry.data["usable"]) == ("cluster:simulated", True)


# ---- what can be wrong


def test_a_cluster_that_does_not_answer(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Capabilities:
        raise ClusterUnavailableError("Cluster simulated does not answer: connection refused")

    monkeypatch.setattr(preflight, "survey", refuse)
    found = preflight.check("simulated")
    assert not found.usable
    assert [(each.what, each.state) for each in found.lines] == [("API", "missing")]
    assert "connection refused" in found.lines[0].found


def test_there_is_no_such_cluster() -> None:
    with pytest.raises(NotFoundError):
        preflight.check("nowhere")


@pytest.fixture
def surveyed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the real survey found, with some of it changed; nothing is tried out."""
    changes: dict[str, Any] = {}
    good = trial.Seen(quota=True, started=True, gone=True)
    monkeypatch.setattr(preflight, "survey", lambda *given: replace(survey(*given), **changes))
    monkeypatch.setattr(trial, "run", lambda _: good)
    return changes


def test_a_permission_that_is_missing_is_named_with_the_remedy(surveyed: dict[str, Any]) -> None:
    surveyed["permissions"] = (Permission("create", "", "namespaces", allowed=False),)
    found = line(preflight.check("simulated"), "Permissions")
    assert (found.state, found.found) == ("missing", "We may not: create namespaces.")
    assert "platform_manifests" in found.remedy


def test_nothing_is_tried_where_something_is_missing(
    surveyed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: Cluster) -> trial.Seen:
        raise AssertionError("It was tried.")

    monkeypatch.setattr(trial, "run", never)
    surveyed["nodes"] = ()
    found = preflight.check("simulated")
    assert not found.usable
    assert line(found, "Trial sandbox").state == "warning"


def test_another_cluster_in_its_place_is_not_touched(surveyed: dict[str, Any]) -> None:
    registry.ensure_environment_cluster()
    RegisteredCluster.objects.update(uid="another")
    found = preflight.check("simulated")
    assert line(found, "Identity").state == "missing"
    assert [each.what for each in found.lines] == ["API", "Identity"]


@pytest.mark.parametrize(
    ("changes", "what", "state", "text"),
    [
        ({"version": "v1.28.3"}, "API", "warning", "Kubernetes v1.28.3"),
        ({"network_policies": False}, "Network policies", "missing", "does not know them"),
        ({"admission_api": False}, "Admission policies", "warning", "has no ValidatingAdmissionPolicy"),
        ({"admission": None}, "Admission policies", "warning", "We may not see"),
        ({"admission": ()}, "Admission policies", "warning", "Ours are not installed"),
        ({"runtime_classes": None}, "Runtime classes", "warning", "We may not see them"),
        ({"runtime_classes": ("gvisor",)}, "Runtime classes", "ok", "There are gvisor"),
        ({"allocatable": {"nvidia.com/gpu": 3}}, "GPUs", "ok", "There are 3 of nvidia.com/gpu"),
        ({"metrics": True}, "Metrics", "ok", "The metrics API is there"),
    ],
)
def test_what_the_survey_found_in_words(
    surveyed: dict[str, Any], changes: dict[str, Any], what: str, state: str, text: str
) -> None:
    surveyed.update(changes)
    found = line(preflight.check("simulated"), what)
    assert found.state == state
    assert text in found.found


def test_placement_knows_what_was_found(surveyed: dict[str, Any], alice: User) -> None:
    surveyed["allocatable"], surveyed["runtime_classes"] = {}, ("gvisor",)
    found = preflight.check("simulated")
    assert (line(found, "GPUs").state, found.gpus) == ("warning", {"nvidia.com/gpu": 0})
    assert line(found, "GPUs").found == "There are too few for gpu."
    known = registry.facts()[0]
    assert (known.gpus, known.runtime_classes) == ({"nvidia.com/gpu": 0}, frozenset({"gvisor"}))
    asked = quota.arithmetic(alice, "", "gpu")
    assert asked.lines[-1].text == "Cluster simulated has 0 of nvidia.com/gpu, and 1 are needed."


PERSONS = ("workloads", "services", "seal", "namespaces", "probe")  # for Petridish as a person


def installed(surveyed: dict[str, Any], names: Iterable[str], loose: Iterable[str] = ()) -> None:
    surveyed["admission_api"] = True
    surveyed["admission"] = tuple(
        AdmissionPolicy(f"petridish-{name}", settings.INSTALLATION_ID, name not in loose, ())
        for name in names
    )


@pytest.mark.parametrize(("enforced", "state"), [(True, "ok"), (False, "warning")])
def test_our_admission_policies_have_to_be_enforced(
    surveyed: dict[str, Any], enforced: bool, state: str
) -> None:
    installed(surveyed, PERSONS, loose=() if enforced else ("seal",))
    assert line(preflight.check("simulated"), "Admission policies").state == state


@pytest.mark.parametrize("missing", [*PERSONS])
def test_a_policy_that_is_not_installed_is_named(surveyed: dict[str, Any], missing: str) -> None:
    installed(surveyed, [name for name in PERSONS if name != missing])
    found = line(preflight.check("simulated"), "Admission policies")
    assert (found.state, found.found) == ("warning", f"Not installed: petridish-{missing}.")
    assert "platform_manifests" in found.remedy
    assert ("write its testimony" in found.why) is (missing == "probe")


def test_the_reach_of_a_service_account_has_to_be_limited(surveyed: dict[str, Any]) -> None:
    installed(surveyed, PERSONS)
    surveyed["user"] = "system:serviceaccount:petridish:petridish"
    found = line(preflight.check("simulated"), "Admission policies")
    assert (found.state, found.found) == ("warning", "Not installed: petridish-reach.")
    installed(surveyed, [*PERSONS, "reach"])
    assert line(preflight.check("simulated"), "Admission policies").state == "ok"


# ---- the trial


def leaking(result: ProbeResult) -> ProbeResult:
    """As a cluster would say whose network plugin ignores policies."""
    attempts = tuple(
        replace(attempt, result="open", detail="connected") if attempt.target == "metadata" else attempt
        for attempt in result.attempts
    )
    return replace(result, passed=False, attempts=attempts)


def test_a_seal_that_does_not_hold_costs_the_cluster_its_trust(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = type(cluster).probe

    def probe(self: Cluster, namespace: str, run: str | None = None) -> ProbeResult | None:
        result = real(self, namespace, run)
        return leaking(result) if result else None

    monkeypatch.setattr(type(cluster), "probe", probe)
    found = preflight.check("simulated")
    assert not found.usable
    assert line(found, "Seal").state == "missing"
    assert "metadata (169.254.169.254:80) should be blocked, was open" in line(found, "Seal").found
    row = RegisteredCluster.objects.get(name="simulated")
    assert not row.trusted
    assert "did not hold" in row.distrust_reason
    assert Alarm.objects.filter(kind="cluster_untrusted", subject="cluster:simulated").exists()
    assert trials(cluster) == []


def test_an_image_that_cannot_start_is_told_in_the_clusters_words(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = replace(cluster.workspace("nowhere"), failed=True, message="ImagePullBackOff: no such image")
    monkeypatch.setattr(type(cluster), "workspace", lambda self, namespace: state)
    found = preflight.check("simulated")
    assert (line(found, "Images").state, line(found, "Images").found) == ("missing", state.message)
    assert line(found, "Seal").state == "missing"
    assert registry.get("simulated").trusted  # nothing was seen to leak
    assert trials(cluster) == []


def test_a_cluster_that_fails_half_way_is_left_clean(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Cluster, namespace: str) -> bool:
        raise NotFoundError("The quota's controller is not there.")

    monkeypatch.setattr(type(cluster), "quota_ready", fail)
    seen = trial.run(cluster)
    assert seen.trouble == ["The quota's controller is not there."]
    assert (seen.quota, seen.started, seen.sealed, seen.gone) == (None, None, None, True)
    assert trials(cluster) == []


def test_what_a_killed_trial_left_is_removed_and_what_runs_is_not(cluster: Cluster) -> None:
    for name in ("petridish-check-1000000000-abc", "petridish-check-9999999999-def"):
        labels = {
            Labels.SANDBOX: "0",
            Labels.INSTALLATION: settings.INSTALLATION_ID,
            Labels.CANARY: "check",
        }
        metadata = {"name": name, "labels": labels}
        cluster.api.create(
            NAMESPACE.collection(), {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        )
    trial.run(cluster)
    gone = cluster.namespace("petridish-check-1000000000-abc")
    assert gone is None or gone.phase == "Terminating"
    other = cluster.namespace("petridish-check-9999999999-def")
    assert other is not None
    assert other.phase == "Active"
    cluster.delete_namespace(other.name, other.uid)


# ---- the command


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("check_cluster", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_it_line_by_line(
    cluster: Cluster, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def check(name: str) -> Report:
        asked.append(name)
        return report

    monkeypatch.setattr(preflight, "check", check)
    told = run()
    assert asked == ["simulated"]
    assert "Cluster simulated" in told
    assert all(f"{each.what}: {each.found}" in told for each in report.lines)
    assert told.rstrip().endswith("Sandboxes can be opened here.")
    assert json.loads(run("--json", "simulated")) == json.loads(json.dumps(report.as_json()))


def test_the_command_fails_when_no_sandbox_could_be_opened(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Line("Seal", "missing", "It does not hold.", "Nobody gets in.", "Install a network plugin.")
    monkeypatch.setattr(preflight, "check", lambda name: replace(report, lines=(bad,)))
    out = StringIO()
    with pytest.raises(CommandError, match="No sandbox could be opened on cluster simulated"):
        call_command("check_cluster", stdout=out)
    assert "MISSING  Seal: It does not hold." in out.getvalue()
    assert "Install a network plugin." in out.getvalue()


def test_the_command_says_that_there_is_no_such_cluster() -> None:
    with pytest.raises(CommandError, match="There is no cluster 'nowhere'"):
        run("nowhere")
