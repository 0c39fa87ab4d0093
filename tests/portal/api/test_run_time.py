"""Downloads at run time and attempts to get out, as a script reads them: the same as on the page."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle import honeytokens
from sandboxes.lifecycle.models import HoneytokenUse, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Connection, Fetch, Inventory
from tests.portal.api.conftest import Caller
from tests.portal.web import world


@pytest.fixture
def box(alice: User, sandbox_of: Callable[..., Sandbox]) -> Sandbox:
    return sandbox_of(alice)


def fetch(box: Sandbox, filename: str, **changes: Any) -> Fetch:
    plain = {"kind": "file", "project": "punkt", "client": "python-requests 2.32"}
    return Fetch.objects.create(sandbox=box, filename=filename, **{**plain, **changes})


def attempt(box: Sandbox, host: str = "evil.example") -> Connection:
    return Connection.objects.create(sandbox=box, host=host, port=443, allowed=False, reason="Not allowed.")


def test_downloads_at_run_time(alice: User, box: Sandbox) -> None:
    owner, path = Caller(alice), f"/sandboxes/{box.pk}/run-time"
    assert owner.get(path).json() == []
    world.install(box, "nltk", ago=timedelta(minutes=1))
    row = fetch(box, "punkt-1.0.zip", user_agent="python-requests/2.32", refused="deny")
    fetch(box, "six-1.0.whl", client="pip 26.3")
    [said] = owner.get(path).json()
    used = said.pop("used")
    assert (used["project"], used["version"], used["how"]) == ("nltk", "1.0", "before")
    assert said.pop("at")
    assert said == {
        "id": row.pk,
        "ecosystem": "pypi",
        "project": "punkt",
        "filename": "punkt-1.0.zip",
        "client": "python-requests 2.32",
        "user_agent": "python-requests/2.32",
        "refused": "deny",
        "why": "no_installer",
    }


def test_after_the_profiles_own_packages(alice: User, sandbox_of: Callable[..., Sandbox]) -> None:
    box = sandbox_of(alice, profile="data-science")
    long_ago = timezone.now() - timedelta(hours=1)
    fetch(box, "pandas-2.0.whl", client="pip 26.3", at=long_ago)
    fetch(box, "six-1.0.whl", client="pip 26.3")
    [said] = Caller(alice).get(f"/sandboxes/{box.pk}/run-time").json()
    assert (said["filename"], said["why"], said["used"]) == ("six-1.0.whl", "after_setup", None)


def test_attempts(alice: User, iris: User, box: Sandbox) -> None:
    world.install(box, "evil", "6.6", ago=timedelta(minutes=1))
    fetch(box, "evil-6.6-py3-none-any.whl", project="evil", client="pip 26.3")
    row = attempt(box)
    for who in (alice, iris):
        [said] = Caller(who).get(f"/sandboxes/{box.pk}/attempts").json()
        assert (said["id"], said["host"], said["port"], said["reason"]) == (
            row.pk, "evil.example", 443, "Not allowed.",
        )  # fmt: skip
        [before] = said["before"]
        assert (before["project"], before["version"]) == ("evil", "6.6")


@pytest.mark.parametrize(("tail", "make"), [("run-time", fetch), ("attempts", attempt)])
def test_pages(alice: User, box: Sandbox, tail: str, make: Callable[..., Any]) -> None:
    rows = [make(box, f"thing-{number}.example").pk for number in range(5)]
    owner, path = Caller(alice), f"/sandboxes/{box.pk}/{tail}"
    first = owner.get(path, limit=3)
    assert [said["id"] for said in first.json()] == rows[:1:-1]
    assert f"before={rows[2]}" in first["Link"]
    rest = owner.get(path, limit=3, before=rows[2])
    assert [said["id"] for said in rest.json()] == rows[1::-1]
    assert "Link" not in rest


def test_uses_of_planted_credentials(alice: User, iris: User, box: Sandbox) -> None:
    honeytokens.plant(box)
    path = f"/sandboxes/{box.pk}/honeytokens"
    assert Caller(alice).get(path).json() == []
    token = box.honeytokens.get(kind="aws")
    row = HoneytokenUse.objects.create(token=token, seen_in=box, method="PUT", path="/honey/…/aws")
    for who in (alice, iris):
        [said] = Caller(who).get(path).json()
        assert (said["id"], said["kind"], said["identifier"]) == (row.pk, "aws", token.identifier)
        assert (said["seen_in"], said["method"], said["path"]) == (box.pk, "PUT", "/honey/…/aws")


def test_inventories(alice: User, iris: User, box: Sandbox) -> None:
    path = f"/sandboxes/{box.pk}/inventory"
    wanted = Caller(alice).post(path)
    assert wanted.status_code == 202
    assert Caller(iris).post(path).json()["id"] == wanted.json()["id"]
    assert [said["taken_at"] for said in Caller(alice).get(path).json()] == [None]
    entry = {"name": "evil", "version": "1.0", "state": "sideloaded"}
    Inventory.objects.update(taken_at=timezone.now(), entries=[entry], counts={"sideloaded": 1})
    [said] = Caller(iris).get(path).json()
    assert (said["entries"], said["counts"], said["complete"]) == ([entry], {"sideloaded": 1}, True)
    Sandbox.objects.filter(pk=box.pk).update(phase=Phase.ENDED)
    assert Caller(alice).post(path).status_code == 409
