"""Clusters as an admin sees, changes and registers them."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.lifecycle import registry
from sandboxes.lifecycle.models import RegisteredCluster
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db
ACT = "/operate/clusters/simulated/act"


def test_the_environments_cluster_is_there(client_of: ClientOf, ada: User, alice: User) -> None:
    world.ready(alice)
    browser = client_of(ada)
    page = browser.get("/operate/clusters").content.decode()
    assert 'href="/operate/clusters/simulated"' in page
    assert "1 sandbox " in page
    assert "Takes new sandboxes" in page
    assert browser.get("/operate/clusters/nowhere").status_code == 404


def test_an_untrusted_one_says_why_until_an_admin_trusts_it(client_of: ClientOf, ada: User) -> None:
    registry.distrust("simulated", reason="metadata was open")
    browser = client_of(ada)
    page = browser.get("/operate/clusters/simulated").content.decode()
    assert "metadata was open" in page
    assert "Trust it again" in page
    assert browser.post(ACT, {"action": "trust", "reason": " "}).status_code == 422
    assert browser.post(ACT, {"action": "trust", "reason": "plugin mended"}).status_code == 302
    assert RegisteredCluster.objects.get(name="simulated").trusted
    assert Entry.objects.get(action="cluster.trusted").data["reason"] == "plugin mended"


def test_out_and_back(client_of: ClientOf, ada: User) -> None:
    browser = client_of(ada)
    assert browser.post(ACT, {"action": "disable", "reason": "new nodes"}).status_code == 302
    assert "Bring it back" in browser.get("/operate/clusters/simulated").content.decode()
    assert browser.post(ACT, {"action": "enable"}).status_code == 302
    assert browser.post(ACT, {"action": "enable"}).status_code == 422  # it is enabled already
    assert browser.post(ACT, {"action": "explode"}).status_code == 404


def test_capacity_labels_and_pace(client_of: ClientOf, ada: User) -> None:
    form = {
        "action": "change",
        "sandboxes": "20",
        "cpus": "8",
        "labels": "gpu=a100, zone=b",
        "concurrency": "4",
    }
    browser = client_of(ada)
    assert browser.post(ACT, form).status_code == 302
    row = RegisteredCluster.objects.get(name="simulated")
    assert (row.max_sandboxes, row.max_cpu_millis, row.concurrency) == (20, 8000, 4)
    assert row.labels == {"gpu": "a100", "zone": "b"}
    assert "gpu=a100, zone=b" in browser.get("/operate/clusters/simulated").content.decode()
    assert browser.post(ACT, {**form, "labels": "gpu"}).status_code == 422
    assert browser.post(ACT, {**form, "concurrency": "many"}).status_code == 422


def test_a_kubeconfig_that_cannot_be_used_is_not_shown_again(client_of: ClientOf, ada: User) -> None:
    form = {"name": "other", "source": "kubeconfig", "kubeconfig": "hush: [", "labels": "zone=b"}
    answer = client_of(ada).post("/operate/register", form)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "hush" not in page
    assert 'value="zone=b"' in page
    assert not RegisteredCluster.objects.filter(name="other").exists()


def test_the_address_that_registers_has_the_form_open(client_of: ClientOf, ada: User) -> None:
    browser = client_of(ada)
    assert '<details class="card" id="add" open>' in browser.get("/operate/register").content.decode()
    assert '<details class="card" id="add">' in browser.get("/operate/clusters").content.decode()
    assert browser.get(ACT)["Location"] == "/operate/clusters/simulated"


def test_what_is_missing_comes_first(client_of: ClientOf, ada: User) -> None:
    browser = client_of(ada)
    page = browser.get("/operate/clusters/simulated").content.decode()
    assert "Look at it now</button>" in page
    lines = [
        {"what": f"It is {state}", "state": state, "found": "so", "why": "", "remedy": ""}
        for state in ("ok", "warning", "missing")
    ]
    RegisteredCluster.objects.filter(name="simulated").update(
        report={"lines": lines}, reported_at=timezone.now()
    )
    page = browser.get("/operate/clusters/simulated").content.decode()
    assert "Look again</button>" in page
    assert re.findall(r"<h3>It is (\w+)</h3>", page) == ["missing", "warning", "ok"]
