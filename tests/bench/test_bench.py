"""The benchmarks at a tiny size, so that they cannot rot. What they measure is not looked at here."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import churn, objects, quiet
from portal.accounts.models import User
from sandboxes.cluster.driver import connect
from sandboxes.lifecycle import clusters, limits, specs
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    """What `bench.world.installation` makes, with the tests' own database."""
    User.objects.create(username="bench", department="bench")
    _forget()
    yield
    _forget()


def _forget() -> None:
    clusters.get.cache_clear()
    specs.templates.cache_clear()
    specs.forget_facts()
    limits.forget()


def test_churn(tmp_path: Path, settings: object, capsys: pytest.CaptureFixture[str]) -> None:
    options = Namespace(sandboxes=5, at_once=5, hands=4, allocations=False)
    with Simulator(tmp_path, "--delete-seconds=0.05", "--ready-seconds=0.02") as simulator:
        assert churn.run(options, simulator) == 0
    assert "5 made and gone" in capsys.readouterr().out


def test_quiet(tmp_path: Path, settings: object, capsys: pytest.CaptureFixture[str]) -> None:
    options = Namespace(sandboxes=20, passes=1, budget=60_000.0, statements=True)
    quiet.fill(tmp_path, options.sandboxes)
    with Simulator(tmp_path) as simulator:
        assert quiet.run(options, simulator) == 0
    assert "20 ready sandboxes" in capsys.readouterr().out


def test_objects(tmp_path: Path) -> None:
    """Of this one only our side: the simulated cluster is no match for kubectl's."""
    with Simulator(tmp_path) as simulator:
        cluster = connect(name="simulated", kubeconfig=str(simulator.kubeconfig), context=None)
        turn = objects.timed(lambda batch: objects.by_petridish(cluster, batch, 2), objects.batches(), 3)
        assert turn.rate > 0
        assert len(list(cluster.namespaces(objects.INSTALLATION))) == 3
        objects.clean(cluster)
        assert not list(cluster.namespaces(objects.INSTALLATION))
        cluster.close()
