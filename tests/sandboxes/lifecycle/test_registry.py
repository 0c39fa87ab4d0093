"""Clusters as rows: how they come in, what is kept of their credentials, and whom they are trusted by."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import (
    ClusterUnavailableError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermanentError,
)
from sandboxes.lifecycle import clusters, registry, vault
from sandboxes.lifecycle.amounts import Limits
from sandboxes.lifecycle.models import Alarm, RegisteredCluster
from sandboxes.lifecycle.registry import Pace
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Another cluster than the environment's."""
    with Simulator(tmp_path_factory.mktemp("second")) as running:
        yield running


@pytest.fixture
def kubeconfig(second: Simulator) -> str:
    return second.kubeconfig.read_text()


def token_of(kubeconfig: str) -> str:
    token: str = json.loads(kubeconfig)["users"][0]["user"]["token"]
    return token


def changed(kubeconfig: str, part: str, **fields: Any) -> str:
    """The same kubeconfig with something in its cluster or user."""
    config = json.loads(kubeconfig)
    config[f"{part}s"][0][part].update(fields)
    return json.dumps(config)


# ---- the environment's


def test_the_environments_cluster_is_there_without_anybody_doing_anything() -> None:
    row = registry.get("simulated")
    assert (row.source, row.enabled, row.trusted) == ("environment", True, True)
    assert registry.get("simulated").pk == row.pk
    assert [fact.name for fact in registry.facts()] == ["simulated"]


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_that_start_at_once_one_registers_it() -> None:
    def ensure(_: int) -> int:
        try:
            return registry.ensure_environment_cluster().pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ensure, range(16)))) == 1
    assert RegisteredCluster.objects.count() == 1


def test_an_earlier_environments_cluster_is_known_to_be_out_of_reach(settings: Any) -> None:
    registry.ensure_environment_cluster()
    settings.CLUSTER_NAME = "production"
    shown = {one.cluster.name: one for one in registry.overview()}
    assert (shown["production"].problem, shown["simulated"].problem) == ("", "Not configured here any more.")
    with pytest.raises(ClusterUnavailableError, match="is not configured here"):
        clusters.get("simulated")


# ---- adding one


def test_a_cluster_that_answers_is_registered(
    cluster: Cluster, kubeconfig: str, ada: User, second: Simulator
) -> None:
    row = registry.add(
        name="lab",
        kubeconfig=kubeconfig,
        labels={"zone": "lab"},
        capacity=Limits(sandboxes=20, gpus=2),
        by=ada,
    )
    assert row.uid
    assert row.uid != cluster.uid()
    assert clusters.get("lab").uid() == row.uid
    known = next(fact for fact in registry.facts() if fact.name == "lab")
    assert (known.labels, known.capacity) == ({"zone": "lab"}, Limits(sandboxes=20, gpus=2))
    entry = Entry.objects.get(action="cluster.registered")
    assert (entry.actor, entry.subject, entry.data["uid"]) == ("ada", "cluster:lab", row.uid)


def test_its_token_is_nowhere_to_be_read(
    cluster: Cluster, kubeconfig: str, ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    registry.add(name="lab", kubeconfig=kubeconfig, by=ada)
    clusters.get("lab").info()
    row = RegisteredCluster.objects.get(name="lab")
    token = token_of(kubeconfig)
    assert token.encode() not in bytes(row.kubeconfig)
    told = [repr(entry.data) for entry in Entry.objects.all()]
    shown = [repr(vars(one.cluster)) + repr(one) for one in registry.overview()]
    assert token not in "".join([*told, *shown, caplog.text, repr(clusters.get("lab"))])


def test_only_the_chosen_context_is_kept(cluster: Cluster, kubeconfig: str, ada: User) -> None:
    config = json.loads(kubeconfig)
    config["users"].append({"name": "other", "user": {"token": "the-others-token"}})
    registry.add(name="lab", kubeconfig=json.dumps(config), context="simulated", by=ada)
    kept = vault.decrypt("lab", bytes(RegisteredCluster.objects.get(name="lab").kubeconfig))
    assert "the-others-token" not in kept


def test_one_cluster_is_not_registered_twice(
    cluster: Cluster, simulator: Simulator, kubeconfig: str, ada: User
) -> None:
    with pytest.raises(ConflictError, match="registered already, as simulated"):
        registry.add(name="again", kubeconfig=simulator.kubeconfig.read_text(), by=ada)
    registry.add(name="lab", kubeconfig=kubeconfig, by=ada)
    with pytest.raises(ConflictError, match="registered already, as lab"):
        registry.add(name="lab2", kubeconfig=kubeconfig, by=ada)
    with pytest.raises(ConflictError, match="There is a cluster lab already"):
        registry.add(name="lab", kubeconfig=kubeconfig, by=ada)


def test_one_that_does_not_answer_is_not_registered(cluster: Cluster, kubeconfig: str, ada: User) -> None:
    nowhere = changed(kubeconfig, "cluster", server="http://127.0.0.1:9")
    with pytest.raises(ClusterUnavailableError):
        registry.add(name="lab", kubeconfig=nowhere, by=ada)
    assert not RegisteredCluster.objects.filter(name="lab").exists()
    assert not Entry.objects.exists()


def test_in_no_pod_there_is_no_cluster_around(cluster: Cluster, ada: User) -> None:
    with pytest.raises(InvalidInputError):
        registry.add(name="around", kubeconfig=None, by=ada)


@pytest.mark.parametrize(
    ("part", "fields", "why"),
    [
        ("user", {"exec": {"command": "/bin/true"}}, "run a program"),
        ("user", {"tokenFile": "/etc/passwd"}, "names a file"),
        ("cluster", {"certificate-authority": "/etc/passwd"}, "names a file"),
        ("cluster", {"insecure-skip-tls-verify": True}, "anybody on the way"),
        ("cluster", {"server": "http://192.0.2.1:6443"}, "must be https"),
    ],
)
def test_a_kubeconfig_that_would_act_or_leak_is_refused(
    cluster: Cluster, kubeconfig: str, ada: User, part: str, fields: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidInputError, match=why) as refused:
        registry.add(name="lab", kubeconfig=changed(kubeconfig, part, **fields), by=ada)
    assert token_of(kubeconfig) not in str(refused.value)


@pytest.mark.parametrize("text", ["", "no: [kubeconfig", "{}", "token: hunter2-hunter2"])
def test_what_is_no_kubeconfig_is_not_quoted_back(ada: User, text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        registry.add(name="lab", kubeconfig=text, by=ada)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "Lab", "a b", "-lab", "x" * 64, "lab/../x"])
def test_a_name_is_plain(ada: User, kubeconfig: str, name: str) -> None:
    with pytest.raises(InvalidInputError, match="name"):
        registry.add(name=name, kubeconfig=kubeconfig, by=ada)


# ---- what is kept


def test_a_ciphertext_opens_in_its_own_row_only() -> None:
    kept = vault.encrypt("lab", "secret")
    assert vault.decrypt("lab", kept) == "secret"
    assert vault.encrypt("lab", "secret") != kept
    with pytest.raises(PermanentError, match="for another cluster"):
        vault.decrypt("production", kept)


@pytest.mark.parametrize("where", [0, 5, -1])
def test_a_ciphertext_that_was_touched_does_not_open(where: int) -> None:
    kept = bytearray(vault.encrypt("lab", "secret"))
    kept[where] ^= 1
    with pytest.raises(PermanentError) as error:
        vault.decrypt("lab", bytes(kept))
    assert "secret" not in str(error.value)


def test_it_opens_under_its_own_key_only(settings: Any) -> None:
    kept = vault.encrypt("lab", "secret")
    settings.SANDBOX_KEY = b"another key altogether, also long"
    with pytest.raises(PermanentError, match="SANDBOX_KEY"):
        vault.decrypt("lab", kept)


# ---- connections


def test_a_connection_is_kept_until_the_row_says_something_else(
    cluster: Cluster, kubeconfig: str, ada: User
) -> None:
    registry.add(name="lab", kubeconfig=kubeconfig, by=ada)
    first = clusters.get("lab")
    assert clusters.get("lab") is first
    registry.change("lab", labels={"zone": "b"}, by=ada)
    assert clusters.get("lab") is first
    again = vault.encrypt("lab", kubeconfig)
    RegisteredCluster.objects.filter(name="lab").update(kubeconfig=again)
    assert clusters.get("lab") is not first
    second = clusters.get("lab")
    clusters.get.cache_clear()
    assert clusters.get("lab") is not second


def test_credentials_moved_to_another_row_connect_to_nothing(
    cluster: Cluster, kubeconfig: str, ada: User
) -> None:
    row = registry.add(name="lab", kubeconfig=kubeconfig, by=ada)
    RegisteredCluster.objects.create(name="prod", source="kubeconfig", kubeconfig=bytes(row.kubeconfig))
    with pytest.raises(PermanentError, match="cannot be read"):
        clusters.get("prod")


def test_an_unknown_cluster_cannot_be_reached() -> None:
    with pytest.raises(ClusterUnavailableError, match="'nowhere' is not registered"):
        clusters.get("nowhere")


# ---- trust, and the rest of what admins do


def test_a_distrusted_cluster_is_told_about_once_and_cleared_by_an_admin(ada: User) -> None:
    registry.distrust("simulated", reason="metadata was open")
    registry.distrust("simulated", reason="metadata was open again")
    row = registry.get("simulated")
    assert (row.trusted, row.distrust_reason) == (False, "metadata was open")
    assert row.distrusted_at is not None
    assert Entry.objects.filter(action="cluster.distrusted").count() == 1
    alarm = Alarm.objects.get(kind="cluster_untrusted", subject="cluster:simulated")
    assert (alarm.count, alarm.cleared_at) == (2, None)

    registry.trust("simulated", by=ada, reason="The plugin was put right.")
    alarm.refresh_from_db()
    assert alarm.cleared_by == ada
    again = registry.get("simulated")
    assert (again.trusted, again.distrust_reason, again.distrusted_at) == (True, "", None)
    entry = Entry.objects.get(action="cluster.trusted")
    assert (entry.actor, entry.data) == ("ada", {"reason": "The plugin was put right."})
    with pytest.raises(ConflictError):
        registry.trust("simulated", by=ada, reason="Again.")


def test_trust_needs_a_reason(ada: User) -> None:
    registry.distrust("simulated", reason="metadata was open")
    with pytest.raises(InvalidInputError):
        registry.trust("simulated", by=ada, reason=" ")
    assert not registry.get("simulated").trusted
    assert Alarm.objects.get().cleared_at is None


def test_disabling_and_enabling(ada: User) -> None:
    assert not registry.disable("simulated", by=ada, reason="Maintenance.").enabled
    assert registry.overview()[0].problem == "Disabled."
    with pytest.raises(ConflictError):
        registry.disable("simulated", by=ada, reason="Maintenance.")
    assert registry.enable("simulated", by=ada).enabled
    actions = list(Entry.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["cluster.disabled", "cluster.enabled"]


def test_changing_what_it_holds_and_how_hard_it_is_worked(ada: User) -> None:
    row = registry.change(
        "simulated", by=ada, capacity=Limits(cpu_millis=64_000), pace=Pace(concurrency=4, burst=10)
    )
    assert (row.max_cpu_millis, row.concurrency, row.burst) == (64_000, 4, 10)
    data = Entry.objects.get(action="cluster.changed").data
    assert (data["before"]["concurrency"], data["after"]["concurrency"]) == (8, 4)
    for wrong in (
        {"pace": Pace(concurrency=0)},
        {"capacity": Limits(gpus=-1)},
        {"labels": {"a b": "c"}},
        {},
    ):
        with pytest.raises(InvalidInputError):
            registry.change("simulated", by=ada, **wrong)


def test_there_is_no_such_cluster(ada: User) -> None:
    for act in (
        lambda: registry.get("nowhere"),
        lambda: registry.distrust("nowhere", reason="x"),
        lambda: registry.trust("nowhere", by=ada, reason="x"),
        lambda: registry.disable("nowhere", by=ada, reason="x"),
        lambda: registry.change("nowhere", by=ada, labels={}),
    ):
        with pytest.raises(NotFoundError):
            act()


def test_the_web_process_never_loads_the_kubernetes_client() -> None:
    """It takes a second, and only registering or checking a cluster needs it."""
    code = (
        "import django; django.setup(); import sys, portal.urls, sandboxes.lifecycle.registry;"
        "sys.exit('kubernetes' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environ)


def test_a_connection_that_leads_to_another_cluster_is_not_used(cluster: Cluster) -> None:
    """A worker that starts with the wrong kubeconfig must not find every sandbox deleted."""
    RegisteredCluster.objects.update(uid="the-one-it-was")
    clusters.get.cache_clear()
    with pytest.raises(ClusterUnavailableError, match="Another cluster answers"):
        clusters.get("simulated")
    row = RegisteredCluster.objects.get(name="simulated")
    assert (row.trusted, row.strange_uid) == (False, cluster.uid())
    with pytest.raises(ClusterUnavailableError, match="Another cluster answers"):
        clusters.get("simulated")
    assert Alarm.objects.filter(kind="cluster_changed", cleared_at=None).count() == 1
