"""`pip-audit` and `uv audit`, asked in a sandbox, against this index: they say what our own matching says."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from pytest_django import DjangoDbBlocker

from sandboxes.screening import osv, queries, storage
from sandboxes.screening.models import Advisory
from sandboxes.screening.words import Ecosystem
from tests.index.clients import environment
from tests.index.installers import run
from tests.index.world import TOKEN, World
from tests.sandboxes.index.conftest import committed
from tests.sandboxes.index.wheels import make_wheel
from tests.sandboxes.screening.documents import affected, document

# What a project has; of each, advisories: by a range, by a list, withdrawn, under two names, malicious, and none.
PINS = {
    "audit-range": "1.5",
    "audit-fixed": "2.0",
    "audit-listed": "1.0.post1",
    "audit-withdrawn": "1.0",
    "audit-twice": "1.0",
    "audit-malware": "6.6.6",
    "audit-clean": "1.0",
}
SEEDED = [
    document("PYSEC-2026-11", affected("audit-range", [("introduced", "1.0"), ("fixed", "1.6")])),
    document("PYSEC-2026-12", affected("audit-range", [("introduced", "0"), ("last_affected", "1.4")])),
    document("PYSEC-2026-13", affected("audit-fixed", [("introduced", "0"), ("fixed", "2.0")])),
    document("PYSEC-2026-14", affected("Audit.Listed", versions=["0.9", "1.0post1"])),
    document(
        "PYSEC-2026-15", affected("audit-withdrawn", [("introduced", "0")]), withdrawn="2026-02-01T00:00:00Z"
    ),
    document("PYSEC-2026-16", affected("audit-twice", [("introduced", "0")]), aliases=["CVE-2026-1"]),
    document("GHSA-aaaa-bbbb-cccc", affected("audit-twice", [("introduced", "0")]), aliases=["CVE-2026-1"]),
    document("MAL-2026-1", affected("audit-malware", versions=["6.6.6"])),
]
# Two records of one vulnerability are shown as one.
SAME = {"GHSA-aaaa-bbbb-cccc": "CVE-2026-1", "PYSEC-2026-16": "CVE-2026-1"}

pytestmark = pytest.mark.django_db

type Found = set[tuple[str, str]]  # (project, advisory)


@pytest.fixture(scope="module")
def locked(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was locked before anything was known: later nobody would get the malicious file."""
    for name, version in PINS.items():
        world.upstream.add(name, make_wheel(name.replace("-", "_"), version))
    folder = tmp_path_factory.mktemp("locked")
    listed = ", ".join(f'"{name}=={version}"' for name, version in PINS.items())
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "trial"\nversion = "1"\nrequires-python = ">=3.12"\ndependencies = [{listed}]\n'
    )
    code, output = run([*_uv(), "lock", "--default-index", f"{world.url()}/"], folder)
    assert code == 0, output
    return folder


@pytest.fixture(scope="module")
def seeded(locked: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        committed(_seed)
        yield
        committed(lambda: Advisory.objects.filter(source="audit").delete())


@pytest.fixture
def ours(seeded: None) -> Found:
    against = queries.against(Ecosystem.PYPI, PINS)
    found = {
        (project, SAME.get(known.id, known.id))
        for project, advisories in against.items()
        for known in advisories.of(PINS[project])
    }
    assert {project for project, _ in found} == {
        "audit-range", "audit-listed", "audit-twice", "audit-malware",
    }  # fmt: skip
    return found


def test_pip_audit_agrees(world: World, ours: Found, tmp_path: Path) -> None:
    code, report = _pip_audit(world, tmp_path)
    assert code == 1
    found = {
        (each["name"], _one(known["id"], known["aliases"]))
        for each in report["dependencies"]
        for known in each["vulns"]
    }
    assert found == ours
    assert {each["name"] for each in report["dependencies"]} == set(PINS)


def test_uv_audit_agrees(world: World, ours: Found, locked: Path) -> None:
    code, output = _uv_audit(world, locked, TOKEN)
    assert code == 1, output
    report = json.loads(output[output.index("{") :])
    assert _uv_found(report) == ours


def test_uv_audit_with_wrong_credentials_does_not_say_that_all_is_well(
    world: World, seeded: None, locked: Path
) -> None:
    code, output = _uv_audit(world, locked, "wrong")
    assert code not in (0, 1), output


def _seed() -> None:
    now = datetime.now(UTC)
    with transaction.atomic():
        storage.write([osv.read(each, now) for each in SEEDED], source="audit", now=now)


def _osv(world: World, token: str = TOKEN) -> str:
    return f"{world.origin.replace('://', f'://dish:{token}@')}/osv"


def _pip_audit(world: World, folder: Path) -> tuple[int, Any]:
    pins = folder / "requirements.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in PINS.items()))
    report = folder / "report.json"
    program = str(environment("pip-audit") / "bin" / "pip-audit")
    options = ["--requirement", str(pins), "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    service = ["--vulnerability-service", "osv", "--osv-url", f"{_osv(world)}/v1/query"]
    output = ["--format", "json", "--aliases", "on", "--output", str(report)]
    code, said = run([program, *options, *service, *output], folder)
    assert report.exists(), said
    return code, json.loads(report.read_text())


def _uv_audit(world: World, folder: Path, token: str) -> tuple[int, str]:
    options = ["--frozen", "--output-format", "json", "--service-url", f"{_osv(world, token)}/"]
    return run([*_uv(), "--quiet", "audit", *options], folder)


def _uv() -> list[str]:
    return [str(environment("uv") / "bin" / "uv"), "--no-cache"]


def _uv_found(report: Any) -> Found:
    return {
        (each["dependency"]["name"], _one(each["id"], each.get("aliases") or []))
        for each in report["vulnerabilities"]
    }


def _one(identity: str, aliases: list[str]) -> str:
    return "CVE-2026-1" if "CVE-2026-1" in aliases else identity
