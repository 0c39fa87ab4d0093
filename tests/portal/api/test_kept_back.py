"""What policy kept back from a sandbox, as a script reads it: the same as its page says, to the same people."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from portal.approvals import waivers
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Fetch
from tests.portal.api.conftest import Caller, is_problem
from tests.portal.web import world

type Make = Callable[..., Sandbox]


@pytest.fixture
def box(alice: User, sandbox_of: Make) -> Sandbox:
    world.demo()
    return sandbox_of(alice)


def took_older(box: Sandbox, project: str = "demo") -> None:
    Fetch.objects.create(sandbox=box, kind="page", project=project, withheld="2.0", withheld_by="cooldown")
    world.install(box, project, "1.0", ago=timedelta(seconds=-5))


def refuse(box: Sandbox, filename: str, **changes: Any) -> Fetch:
    plain = {"kind": "file", "project": "demo", "refused": "cooldown", "client": "pip 26.3"}
    return Fetch.objects.create(sandbox=box, filename=filename, **{**plain, **changes})


def test_older_versions(alice: User, iris: User, box: Sandbox) -> None:
    owner, path = Caller(alice), f"/sandboxes/{box.pk}/older"
    assert owner.get(path).json() == []
    took_older(box)
    [said] = owner.get(path).json()
    assert (said["project"], said["taken"], said["newest"], said["rule"]) == (
        "demo", "1.0", "2.0", "cooldown",
    )  # fmt: skip
    assert said["given"] is False
    assert said["opens"] == owner.get("/waivers/why", project="demo", version="2.0").json()["opens"]
    assert said["why"] == f"http://testserver/why/pypi/demo/2.0/?sandbox={box.pk}"
    waivers.decide(world.waiver(alice, box).pk, by=iris, grant=True, reason="")
    [said] = owner.get(path).json()
    assert (said["given"], said["opens"]) == (True, None)


def test_of_a_sandbox_that_is_over_nothing_is_decided_any_more(alice: User, box: Sandbox) -> None:
    took_older(box)
    Sandbox.objects.filter(pk=box.pk).update(phase=Phase.ENDED)
    [said] = Caller(alice).get(f"/sandboxes/{box.pk}/older").json()
    assert (said["given"], said["opens"]) == (None, None)


def test_refused_files(alice: User, box: Sandbox) -> None:
    refuse(box, "demo-2.0-py3-none-any.whl.metadata", kind="metadata")
    refuse(box, "tool-1.0.0-rc.1.tgz", ecosystem="npm", project="@acme/tool", refused="malicious")
    refuse(box, "odd.exe", refused="denied")
    found = Caller(alice).get(f"/sandboxes/{box.pk}/refused").json()
    assert [(row["project"], row["version"], row["rule"]) for row in found] == [
        ("demo", None, "denied"),
        ("@acme/tool", "1.0.0-rc.1", "malicious"),
        ("demo", "2.0", "cooldown"),
    ]
    assert [row["why"] for row in found] == [
        None,
        f"http://testserver/why/npm/@acme/tool/1.0.0-rc.1/?sandbox={box.pk}",
        f"http://testserver/why/pypi/demo/2.0/?sandbox={box.pk}",
    ]


@pytest.mark.parametrize("what", ["older", "refused"])
def test_they_come_by_pages(alice: User, box: Sandbox, what: str) -> None:
    for n in range(3):
        took_older(box, f"demo-{n}")
        refuse(box, f"demo_{n}-2.0-py3-none-any.whl", project=f"demo-{n}")
    owner = Caller(alice)
    first = owner.get(f"/sandboxes/{box.pk}/{what}", limit=2)
    rest = owner.get(first["Link"].partition(">")[0].removeprefix("<http://testserver/api/v1"))
    assert [row["project"] for row in [*first.json(), *rest.json()]] == ["demo-2", "demo-1", "demo-0"]
    assert "Link" not in rest


@pytest.mark.parametrize("what", ["older", "refused"])
def test_who_reads_it(alice: User, bob: User, iris: User, omar: User, box: Sandbox, what: str) -> None:
    """Whoever may see the sandbox's page."""
    took_older(box)
    refuse(box, "demo-2.0-py3-none-any.whl")
    for person in (alice, iris, omar):
        assert len(Caller(person).get(f"/sandboxes/{box.pk}/{what}").json()) == 1
    is_problem(Caller(bob).get(f"/sandboxes/{box.pk}/{what}"), 404, "not_found")
