"""Bills of materials: right by CycloneDX's own schema, whole, and true about what is known."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import exposures, sbom
from sandboxes.screening.models import Exposure, Verdict
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.screening.documents import affected, document
from tests.sandboxes.screening.exposing import BAD, malicious, received, vulnerable

pytestmark = pytest.mark.django_db


def made(sandbox: Sandbox, *waived: sbom.Waived) -> dict[str, Any]:
    files = sandbox.installs.order_by("id")
    text = sbom.of("sandbox 1", files, Exposure.objects.filter(sandbox=sandbox), waived)
    assert sbom.faults(text) == []
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture
def sandbox(alice: User) -> Sandbox:
    found = rows.ready(alice)
    received(found)
    received(found, filename="demo-1.0.tar.gz", sha256="a" * 64)
    received(found, "@scope/tool", "2.1.0", ecosystem="npm", filename="tool-2.1.0.tgz", sha256="b" * 64)
    return found


def state_of(bill: dict[str, Any], identity: str) -> str:
    (found,) = [one for one in bill["vulnerabilities"] if one["id"] == identity]
    state: str = found["analysis"]["state"]
    return state


def test_each_file_is_a_component(sandbox: Sandbox) -> None:
    bill = made(sandbox)
    assert (bill["specVersion"], bill["bomFormat"]) == ("1.6", "CycloneDX")
    assert {one["hashes"][0]["content"] for one in bill["components"]} >= {"a" * 64, "b" * 64}
    purls = {one["purl"] for one in bill["components"]}
    assert "pkg:npm/%40scope/tool@2.1.0?file_name=tool-2.1.0.tgz" in purls
    assert "pkg:pypi/demo@1.0?file_name=demo-1.0.tar.gz" in purls
    assert bill["metadata"]["component"]["name"] == "sandbox 1"


def test_nothing_received_is_a_bill_too(alice: User) -> None:
    assert "components" not in made(rows.ready(alice))


def test_malware_and_holes(ada: User, sandbox: Sandbox) -> None:
    malicious(ada, summary="It reads keys")
    vulnerable(ada, "HIGH")
    bill = made(sandbox)
    assert (state_of(bill, BAD), state_of(bill, "GHSA-1")) == ("exploitable", "in_triage")
    (bad,) = [one for one in bill["vulnerabilities"] if one["id"] == BAD]
    assert bad["description"] == "It reads keys"
    assert bad["ratings"] == [{"severity": "critical"}]
    assert len(bad["affects"]) == 2  # the wheel and the sdist
    refs = {one["bom-ref"] for one in bill["components"]}
    assert {one["ref"] for one in bad["affects"]} <= refs


def test_a_guess_is_for_triage(ada: User, sandbox: Sandbox) -> None:
    from sandboxes.screening import advisories

    advisories.put(document(BAD, affected("demo", [("introduced", "0")], versions=["0.9"])), by=ada)
    assert state_of(made(sandbox), BAD) == "in_triage"


def test_a_waiver_says_so(ada: User, sandbox: Sandbox) -> None:
    vulnerable(ada, "HIGH")
    until = timezone.now() + timedelta(days=1)
    (found,) = made(sandbox, sbom.Waived("pypi", "demo", "1.0", "For the demo", until))["vulnerabilities"]
    assert found["analysis"]["response"] == ["will_not_fix"]
    assert "For the demo" in found["analysis"]["detail"]
    (other,) = made(sandbox, sbom.Waived("pypi", "demo", "9", "No", until))["vulnerabilities"]
    assert "response" not in other["analysis"]


def test_withdrawn_and_changed(ada: User, sandbox: Sandbox) -> None:
    from sandboxes.screening import advisories

    malicious(ada)
    malicious(ada, identity="MAL-2026-2")
    exposures.expose()
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    other = document("MAL-2026-2", affected("demo", versions=["7"]), modified="2026-05-01T00:00:00Z")
    advisories.put(other, by=ada)
    exposures.expose()
    bill = made(sandbox)
    assert state_of(bill, BAD) == "false_positive"
    assert state_of(bill, "MAL-2026-2") == "not_affected"
    assert len(bill["vulnerabilities"][0]["affects"]) == 2


@pytest.mark.parametrize(
    ("decision", "expected"), [("", "in_triage"), ("released", "false_positive"), ("blocked", "exploitable")]
)
def test_what_screening_found(sandbox: Sandbox, decision: str, expected: str) -> None:
    Verdict.objects.create(
        sha256="a" * 64,
        state="held",
        at=timezone.now(),
        level="hold",
        findings=[{"rule": "x", "why": "It starts a shell."}],
        decision=decision,
        decision_reason="Looked at",
    )
    Verdict.objects.create(sha256="b" * 64, state="passed", at=timezone.now(), level="clean")
    (found,) = made(sandbox)["vulnerabilities"]
    assert found["analysis"]["state"] == expected
    assert found["description"] == "It starts a shell."


def test_absurd_names_are_still_right_by_the_schema(alice: User) -> None:
    sandbox = rows.ready(alice)
    for number, name in enumerate(['"><script>', "ünï/cödé", "a" * 300, " "]):
        received(sandbox, name, "1.0 beta?", filename=f"{name}.whl", sha256=f"{number}" * 64)
    assert len(made(sandbox)["components"]) == 4
