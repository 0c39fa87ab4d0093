"""A package turns out bad while somebody uses it: seen, cut off, proven, taken back, opened again.

Everything is as people have it: `make run`'s own processes, a real pip, the real API and pages.
"""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journey import TRIAL, Person, local_upstream, people
from tests.petridish import Petridish, running, sign_in

RECORD: dict[str, Any] = {
    "summary": "It reads keys and sends them away",
    "database_specific": {"malicious": True},
    "affected": [{"package": {"ecosystem": "PyPI", "name": "demo"}, "versions": ["2.0"]}],
}


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Petridish]:
    folder = tmp_path_factory.mktemp("bad") / "data"
    with local_upstream() as upstream, running(folder, INDEX_UPSTREAM=upstream.url) as petridish:
        yield petridish


def pip_install(index_url: str, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--no-input", "--no-cache-dir"]
    options = ["--index-url", index_url, "--target", str(target), "--retries", "0", "demo==2.0"]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=60)


def exposures_of(person: Person, advisory: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.get(f"/exposure?advisory={advisory}")
    return found


def evidence(portal: Petridish, sandbox: int) -> dict[str, bytes]:
    headers = {"Authorization": f"Bearer {portal.login('iris')['token']}"}
    answer = httpx.get(f"{portal.url}/api/v1/sandboxes/{sandbox}/evidence", headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_from_the_install_to_the_release(portal: Petridish, tmp_path: Path) -> None:
    with people(portal) as person:
        alice, iris, ada = person("alice"), person("iris"), person("ada")
        sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
        number, index_url = sandbox["id"], sandbox["index_url"]
        installed = pip_install(index_url, tmp_path / "before")
        assert installed.returncode == 0, installed.stderr

        # Somebody says that it is bad: whoever has it is cut off, and nobody gets it any more.
        advisory = ada.post("/advisories", RECORD, 201)["id"]
        isolated = iris.until(f"/sandboxes/{number}", lambda found: found["cut_at"] is not None)
        assert isolated["phase"] == "isolated"
        assert isolated["isolation_reason"] == f"{advisory} says that demo 2.0 is malicious"
        (row,) = exposures_of(iris, advisory)
        assert (row["person"], row["version"], row["action"], row["live"]) == (
            "alice",
            "2.0",
            "isolate",
            True,
        )
        assert row["done_at"] is not None
        assert pip_install(index_url, tmp_path / "after").returncode != 0

        # What is kept can be taken away, and checked.
        files = evidence(portal, number)
        assert {one["project"] for one in json.loads(files["installs.json"])} == {"demo", "helper"}
        bill = alice.get(f"/sandboxes/{number}/sbom")
        assert bill["vulnerabilities"][0]["analysis"]["state"] == "exploitable"

        # It was wrong. That is told; the sandbox stays as it is until a person opens it.
        moment = datetime.now(UTC).isoformat()
        ada.post("/advisories", RECORD | {"id": advisory, "withdrawn": moment})
        closed = iris.until(
            f"/exposure?advisory={advisory}", lambda rows: bool(rows) and rows[0]["closed_at"] is not None
        )
        assert closed[0]["closed_why"].startswith(f"{advisory} was withdrawn on ")
        assert iris.get(f"/sandboxes/{number}")["phase"] == "isolated"
        with httpx.Client(base_url=portal.url, follow_redirects=True, timeout=30) as browser:
            sign_in(browser, "iris", portal.login("iris")["password"])
            page = browser.get(f"/sandboxes/{number}").text
            assert "What it was isolated for does not hold any more" in page
            assert f'action="/sandboxes/{number}/release"' in page
        iris.post(f"/sandboxes/{number}/release", {"reason": "The advisory was withdrawn"}, 202)
        again = alice.sandbox_ready(number)
        assert pip_install(again["index_url"], tmp_path / "again").returncode == 0
