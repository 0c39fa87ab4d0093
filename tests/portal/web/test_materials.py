"""The bill of materials of a tool: offered where the tool is named, and of those sandboxes alone that one may see."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.reports import sbom
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import sbom as materials
from sandboxes.usage.models import Install
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db
OFFERED = 'href="/tools/sbom.json?tool=rich"'


def _projects(client: Client, tool: str) -> set[str]:
    answer = client.get("/tools/sbom.json", {"tool": tool})
    assert answer.status_code == 200
    assert "attachment" in answer["Content-Disposition"]
    return {each["name"] for each in json.loads(answer.content)["components"]}


def test_each_sees_what_their_sandboxes_received(
    client_of: ClientOf, alice: User, bob: User, omar: User
) -> None:
    world.install(world.ready(alice, tools=["Rich[jupyter]>=13"]), "rich")
    world.install(world.ready(bob), "pygments")
    assert _projects(client_of(alice), "rich") == {"rich"}
    assert _projects(client_of(bob), "rich") == {"pygments"}
    assert _projects(client_of(omar), "rich") == {"rich", "pygments"}


@pytest.mark.parametrize(
    ("there", "said"), [(2, None), (3, "the newest 2 of 3"), (10, "the newest 2 of at least 8")]
)
def test_what_is_cut_short_says_so_itself(
    client_of: ClientOf, alice: User, monkeypatch: pytest.MonkeyPatch, there: int, said: str | None
) -> None:
    monkeypatch.setattr(sbom, "MOST_SANDBOXES", 2)
    for number in range(there):
        given = {"cluster": "east", "profile": "python", "data_class": "public", "lease": timedelta(days=1)}
        box = Sandbox.objects.create(name=f"box-{number}", owner=alice, tools=["rich"], **given)
        world.install(box, f"tool-{number}")
    Install.objects.update(sha256="0" * 64)  # of the length that the schema wants
    text = client_of(alice).get("/tools/sbom.json", {"tool": "rich"}).content.decode()
    document = json.loads(text)
    assert {each["name"] for each in document["components"]} == {f"tool-{there - 1}", f"tool-{there - 2}"}
    properties = {each["name"]: each["value"] for each in document["metadata"].get("properties", [])}
    assert properties == ({"petridish:cut_short": f"{said} sandboxes"} if said else {})
    assert materials.faults(text) == []


@pytest.mark.parametrize("tool", ["", "absent", "\0", "x" * 200])
def test_of_what_nobody_declared_there_is_none(client_of: ClientOf, alice: User, tool: str) -> None:
    world.ready(alice)
    assert client_of(alice).get("/tools/sbom.json", {"tool": tool}).status_code == 404


def test_it_is_offered_on_the_sandbox_that_declared_it(client_of: ClientOf, alice: User) -> None:
    box = world.ready(alice, tools=["Rich[jupyter]>=13"])
    browser = client_of(alice)
    assert OFFERED not in browser.get(f"/sandboxes/{box.pk}").content.decode()  # nothing was received yet
    world.install(box, "rich")
    assert OFFERED in browser.get(f"/sandboxes/{box.pk}").content.decode()


def test_and_on_the_page_about_a_version_of_it(client_of: ClientOf, alice: User, bob: User) -> None:
    world.ready(alice)
    world.ready(bob, tools=["tabulate"])
    assert OFFERED in client_of(alice).get("/why/pypi/rich/1.0/").content.decode()
    assert OFFERED not in client_of(bob).get("/why/pypi/rich/1.0/").content.decode()
