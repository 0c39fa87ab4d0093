"""The probe's result is the probe's: read from the pod of its name, which was told what it should have been."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.cluster.driver import connect
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.observe import ProbeLostError
from sandboxes.cluster.render import Templates, check_templates
from sandboxes.cluster.spec import KubeObject
from sandboxes.errors import TemporaryError
from tests.cluster.conftest import Subject, wait_for
from tests.simulator import Simulator

POD = kind("v1", "Pod")


@pytest.fixture
def subject(tmp_path_factory: pytest.TempPathFactory, templates: Templates) -> Iterator[Subject]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        cluster = connect("simulated", str(simulator.kubeconfig), None)
        yield Subject(
            cluster, True, str(simulator.kubeconfig), "python:3", "127.0.0.1", 8081, templates, "told"
        )
        cluster.close()


def test_a_pod_with_the_probes_labels_is_not_the_probe(subject: Subject) -> None:
    """Whoever may make pods gives one a name that comes first, the same labels, and targets that are no danger."""
    spec, rendered, _ = subject.sealed()
    (probe,) = rendered.probe
    forged = forgery(probe, name="a")
    subject.cluster.api.create(POD.collection(spec.namespace), forged)
    with pytest.raises(ProbeLostError, match="There is no probe"):
        subject.cluster.probe(spec.namespace, spec.run)
    path = POD.path(spec.namespace, "a")
    wait_for(lambda: subject.cluster.api.get(path)["status"]["phase"] == "Succeeded")  # leaves the quota
    subject.cluster.start_probe(rendered.probe)
    result = wait_for(lambda: subject.cluster.probe(spec.namespace, spec.run, lambda: rendered.probe))
    assert result is not None
    assert "api-server" in {attempt.target for attempt in result.attempts}


def test_a_probe_that_was_told_other_targets_proves_nothing(subject: Subject) -> None:
    """Of the right name too, where no admission policy stops it: it is made again as it should be."""
    spec, rendered, _ = subject.sealed()
    (probe,) = rendered.probe
    subject.cluster.api.create(POD.collection(spec.namespace), forgery(probe))
    assert wait_for(lambda: subject.cluster.probe(spec.namespace, spec.run))
    with pytest.raises(ProbeLostError, match="other targets"):
        subject.cluster.probe(spec.namespace, spec.run, lambda: rendered.probe)
    wait_for(lambda: _started(subject, rendered.probe))
    result = wait_for(lambda: subject.cluster.probe(spec.namespace, spec.run, lambda: rendered.probe))
    assert result is not None
    assert "api-server" in {attempt.target for attempt in result.attempts}


def forgery(probe: KubeObject, **metadata: str) -> KubeObject:
    """The same pod with targets that its maker chose."""
    forged = copy.deepcopy(probe)
    forged["metadata"].update(metadata)
    (variable,) = forged["spec"]["containers"][0]["env"]
    variable["value"] = json.dumps(
        [line for line in json.loads(variable["value"]) if line[0] != "api-server"]
    )
    return forged


def _started(subject: Subject, probe: tuple[KubeObject, ...]) -> bool:
    """An older one has to go away first."""
    try:
        subject.cluster.start_probe(probe)
    except TemporaryError:
        return False
    return True


def test_a_probe_of_another_name_is_no_template(root: Path) -> None:
    path = root / "sandbox" / "50-probe.yaml"
    path.write_text(path.read_text().replace("  name: probe\n  labels:", "  name: test\n  labels:"))
    (problem, *_) = check_templates(root)
    assert "50-probe.yaml" in problem
    assert "the probe must be a Pod of the name probe" in problem
