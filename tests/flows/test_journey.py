"""The whole journey as its people meet it: `make run`'s own processes, HTTP, a real pip, and kills in between."""

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.journey import TRIAL, Person, local_upstream, people
from tests.petridish import ROOT, Petridish, running, wait_for

Cast = Callable[[str], Person]


@pytest.fixture(scope="session")  # a test of another file may run in between
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Petridish]:
    folder = tmp_path_factory.mktemp("journey") / "data"
    with local_upstream() as upstream, running(folder, INDEX_UPSTREAM=upstream.url) as petridish:
        yield petridish


@pytest.fixture
def person(portal: Petridish) -> Iterator[Cast]:
    with people(portal) as named:
        yield named


def pip_install(index_url: str, target: Path, *packages: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--no-input", "--no-cache-dir"]
    options = ["--index-url", index_url, "--target", str(target), "--retries", "0"]
    return subprocess.run(
        [*command, *options, *packages], capture_output=True, text=True, check=False, timeout=60
    )


def kill(portal: Petridish, name: str) -> None:
    """`kill -9` for that process of Petridish; waits for it if the last kill was a moment ago."""
    wait_for(lambda: name in portal.children())
    portal.children()[name].kill()


def test_alice_tries_a_package_and_ends_early(person: Cast, tmp_path: Path) -> None:
    alice = person("alice")
    request = alice.post("/requests", TRIAL, 201)
    assert request["state"] == "approved"
    assert "Ordinary trial" in request["reasons"][0]
    sandbox = alice.sandbox_ready(request["sandbox"])
    assert sandbox["probe"]["passed"] is True
    assert sandbox["probe"]["simulated"] is True
    assert sandbox["name"] in sandbox["index_url"]

    installed = pip_install(sandbox["index_url"], tmp_path, "demo")
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / "demo.py").exists()
    installs = alice.get(f"/sandboxes/{sandbox['id']}/installs")
    assert {(row["project"], row["version"]) for row in installs} == {("demo", "2.0"), ("helper", "0.1")}
    assert all(row["client"].startswith("pip ") for row in installs)

    ending = alice.post(f"/sandboxes/{sandbox['id']}/end")
    assert ending["phase"] == "ending"
    time.sleep(5)  # the index may remember a token for so long and no longer
    refused = pip_install(sandbox["index_url"], tmp_path / "late", "demo")
    assert refused.returncode != 0
    over = alice.sandbox_over(sandbox["id"])
    assert over["index_url"] is None
    assert over["receipt"]["document"]["leftovers"] == []
    assert over["receipt"]["document"]["absent_at"]


def test_bob_asks_for_a_gpu_and_iris_decides(person: Cast) -> None:
    bob, iris = person("bob"), person("iris")
    request = bob.post("/requests", {**TRIAL, "profile": "gpu"}, 201)
    assert (request["state"], request["sandbox"]) == ("pending", None)
    assert request["id"] in [row["id"] for row in iris.get("/requests?state=pending")]
    decided = iris.post(
        f"/requests/{request['id']}/decision", {"decision": "approve", "reason": "Fine", "duration": "PT5M"}
    )
    sandbox = bob.sandbox_ready(decided["sandbox"])
    assert iris.get(f"/sandboxes/{sandbox['id']}")["index_url"] is None


def test_a_lease_runs_out(portal: Petridish, person: Cast) -> None:
    alice = person("alice")
    request = alice.post("/requests", {**TRIAL, "duration": "PT1M"}, 201)
    sandbox = alice.sandbox_ready(request["sandbox"])
    with psycopg.connect(
        (portal.data_dir / "database_url").read_text().strip()
    ) as database:  # a minute passes
        database.execute(
            "UPDATE lifecycle_sandbox SET expires_at = now(), next_check_at = now() WHERE id = %s",
            [sandbox["id"]],
        )
    over = alice.sandbox_over(sandbox["id"])
    assert over["end_reason"] == "expired"
    assert over["receipt"]["document"]["absent_at"]


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("name", ["queue worker", "uvicorn"])
def test_a_kill_at_any_moment_loses_nothing(portal: Petridish, person: Cast, name: str, delay: float) -> None:
    alice = person("alice")
    request = alice.post("/requests", TRIAL, 201)
    time.sleep(delay)
    kill(portal, name)
    sandbox = alice.sandbox_ready(request["sandbox"])
    alice.post(f"/sandboxes/{sandbox['id']}/end")
    time.sleep(delay)
    kill(portal, name)
    assert alice.sandbox_over(sandbox["id"])["receipt"]["document"]["leftovers"] == []


def test_omar_reads_the_report_and_the_ledger_holds(portal: Petridish, person: Cast, tmp_path: Path) -> None:
    alice, omar = person("alice"), person("omar")
    sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
    assert pip_install(sandbox["index_url"], tmp_path, "demo").returncode == 0
    alice.post(f"/sandboxes/{sandbox['id']}/end")
    text = omar.text("/reports/usage?from=2020-01-01&to=2100-01-01&by=install&format=csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert any("demo" in row for row in rows)
    assert omar.get("/audit/verify")["ok"] is True
    actions = {entry["action"] for entry in omar.get("/audit?after=0")}
    assert {"request.submitted", "request.approved", "sandbox.ready"} <= actions
    command = [sys.executable, "manage.py", "verify_ledger"]
    told = subprocess.run(
        command, cwd=ROOT, env=portal.environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert "The ledger holds" in told.stdout


def test_demo_json_is_private(portal: Petridish) -> None:
    path = portal.data_dir / "demo.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert {person["username"] for person in json.loads(path.read_text())} == {
        "alice", "bob", "iris", "igor", "omar", "ada",
    }  # fmt: skip
