"""The evidence about an isolated sandbox: policies and logs as they were, all of it under one signature."""

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from portal.accounts.models import User
from portal.reports import evidence, keeping, tasks
from sandboxes.index import policy_settings
from sandboxes.index.models import ListEntry
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.lifecycle import clock, isolation, receipts
from sandboxes.lifecycle.models import ContainerLog, Isolation, Sandbox
from sandboxes.lifecycle.phases import Phase

pytestmark = pytest.mark.django_db
LOG = b"2026-11-01T10:00:00Z I was here \xff\n"
POLICY = {"kind": "NetworkPolicy", "metadata": {"name": "allow-index", "annotations": {"a": "\0"}}}


@pytest.fixture
def isolated(sandbox_of: Callable[..., Sandbox], alice: User, iris: User) -> Sandbox:
    made = sandbox_of(alice)
    Sandbox.objects.filter(pk=made.pk).update(ready_at=clock.now())
    isolation.isolate(made.pk, by=iris, reason="it scans the network")
    made.refresh_from_db()
    return made


def files(sandbox: Sandbox, viewer: User) -> dict[str, bytes]:
    _, blocks = evidence.take(sandbox.pk, by=viewer)
    with zipfile.ZipFile(io.BytesIO(b"".join(blocks))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def of(found: dict[str, bytes], name: str) -> Any:
    return json.loads(found[name])


def secured(sandbox: Sandbox, **changes: Any) -> Isolation:
    """As a worker leaves it."""
    row = sandbox.isolations.get()
    packed = zlib.compress(json.dumps([POLICY]).encode())
    values = {"policies": packed, "policies_at": clock.now(), "logs_due_at": None, **changes}
    Isolation.objects.filter(pk=row.pk).update(**values)
    return row


def logged(row: Isolation, key: str, data: bytes, **changes: Any) -> ContainerLog:
    values = {"pod": "workspace-0", "pod_uid": "u", "container": "workspace", "final": True, **changes}
    return ContainerLog.objects.create(
        isolation=row, key=key, data=zlib.compress(data) if data else b"", size=len(data), **values
    )


def test_every_file_is_under_the_signature(isolated: Sandbox, omar: User) -> None:
    row = secured(isolated)
    logged(row, "c://1", LOG)
    found = files(isolated, omar)
    signed = json.loads(found.pop("manifest.json"))
    listed = {one["name"]: (one["sha256"], one["bytes"]) for one in signed["manifest"]["files"]}
    assert listed == {name: (sha256(data).hexdigest(), len(data)) for name, data in found.items()}
    assert {"logs.json", "network-policies.json", "policy.json"} < listed.keys()
    assert any(name.startswith("logs/") for name in listed)
    signature = signed["signature"]
    assert receipts.verify(signed["manifest"], signature["key_id"], signature["value"]).ok
    less = signed["manifest"] | {"files": signed["manifest"]["files"][:-1]}
    assert not receipts.verify(less, signature["key_id"], signature["value"]).ok


def test_logs_as_they_were_and_what_is_missing_with_the_reason(isolated: Sandbox, omar: User) -> None:
    row = secured(isolated, logs_error="There are more than 40 containers.")
    logged(row, "c://1", LOG, cut_short=True, exit_code=137)
    logged(row, "c://2", b"", error="the node does not answer", container="side")
    logged(row, "c://3", b"x", pod="../../etc", container="passwd\\")
    found = files(isolated, omar)
    (told,) = of(found, "logs.json")
    assert (told["complete"], told["error"]) == (False, "There are more than 40 containers.")
    first, second, third = told["logs"]
    assert found[first["file"]] == LOG
    assert (first["bytes"], first["cut_short"], first["exit_code"]) == (len(LOG), True, 137)
    assert (second["file"], second["error"]) == (None, "the node does not answer")
    assert third["file"].startswith("logs/")
    assert third["file"].count("/") == 1
    assert {name for name in found if name.startswith("logs/")} == {first["file"], third["file"]}


def test_logs_that_are_still_read_are_said_to_be(isolated: Sandbox, omar: User) -> None:
    found = files(isolated, omar)
    assert of(found, "logs.json")[0]["error"] == "They are still being read."
    assert of(found, "network-policies.json")[0]["error"] == "They were not read yet."


def test_the_network_policies_of_that_moment(isolated: Sandbox, omar: User) -> None:
    secured(isolated)
    (told,) = of(files(isolated, omar), "network-policies.json")
    assert told["policies"] == [POLICY]
    assert told["error"] == ""


def test_the_package_policy_of_that_moment_and_what_became_of_it(
    isolated: Sandbox, ada: User, omar: User
) -> None:
    policy_settings.add_entry(
        profile="",
        ecosystem=Ecosystem.PYPI,
        kind=policy_settings.Kind.DENY,
        pattern="evil",
        reason="bad",
        by=ada,
    )
    assert keeping.keep_policies() == 1
    before = policy_settings.settings_of("")
    policy_settings.change(
        profile="", settings=replace(before, cooldown=timedelta(days=44)), by=ada, reason="later"
    )
    ListEntry.objects.all().delete()
    found = of(files(isolated, omar), "policy.json")
    (kept,) = found["isolations"]
    assert kept["settings"]["everybody"]["cooldown"] != "P44DT00H00M00S"
    assert set(kept["settings"]) == {"everybody", "python"}
    assert [entry["pattern"] for entry in kept["lists"]] == ["evil"]
    assert "policy.changed" in [entry["action"] for entry in found["changes"]]


def test_the_package_policy_is_kept_once_and_by_beat(isolated: Sandbox) -> None:
    tasks.keep_policies()
    at = isolated.isolations.get().package_policy_at
    assert at is not None
    assert keeping.keep_policies() == 0
    assert not keeping.keep(isolated.isolations.get().pk)
    assert isolated.isolations.get().package_policy_at == at


def test_whoever_downloads_first_keeps_it(isolated: Sandbox, omar: User) -> None:
    (kept,) = of(files(isolated, omar), "policy.json")["isolations"]
    assert kept["settings"]["everybody"]
    assert isolated.isolations.get().package_policy_at is not None


def test_one_of_an_older_release_has_the_policy_as_it_is(isolated: Sandbox, omar: User) -> None:
    Isolation.objects.all().delete()
    assert isolated.phase == Phase.ISOLATED
    found = files(isolated, omar)
    assert of(found, "policy.json")["isolations"][0]["settings"]["everybody"]
    assert of(found, "logs.json") == of(found, "network-policies.json") == []
