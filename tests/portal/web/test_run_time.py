"""The sandbox's page says what was downloaded at run time, and what came before an attempt to get out."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Connection, Fetch
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


@pytest.fixture
def box(alice: User) -> Sandbox:
    return world.ready(alice)


def download(box: Sandbox, **changes: object) -> Fetch:
    given = {
        "kind": "file",
        "project": "punkt",
        "filename": "punkt-1.0.zip",
        "client": "python-requests 2.32",
    }
    return Fetch.objects.create(sandbox=box, **{**given, **changes})


def attempt(box: Sandbox, **changes: object) -> Connection:
    given = {"host": "evil.example", "port": 443, "allowed": False, "reason": "The seal lets it not."}
    return Connection.objects.create(sandbox=box, **{**given, **changes})


def _page(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def test_neither_section_without_anything_to_say(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    download(box, client="pip 26.3")
    page = _page(client_of(alice), f"/sandboxes/{box.pk}")
    assert "Downloads at run time" not in page
    assert "Attempts to get out" not in page


def test_a_download_with_the_package_in_use(
    client_of: ClientOf, alice: User, iris: User, box: Sandbox
) -> None:
    world.install(box, "nltk", "3.9", ago=timedelta(minutes=1))
    download(box)
    download(box, filename="punkt-2.0.zip", at=timezone.now() - timedelta(hours=1), client="")
    for who in (alice, iris):
        page = _page(client_of(who), f"/sandboxes/{box.pk}")
        section = page.partition('id="late"')[2].partition("</section>")[0]
        assert "punkt-1.0.zip" in section
        assert "nltk 3.9" in section
        assert "By no installer" in section
        assert "A client without a name" in section
        assert "Not known" in section


def test_this_package_then_this_attempt(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    world.install(box, "evil", "6.6", ago=timedelta(minutes=2))
    download(box, project="evil", filename="evil-6.6-py3-none-any.whl", client="pip 26.3")
    row = attempt(box, repeats=7)
    browser = client_of(alice)
    page = _page(browser, f"/sandboxes/{box.pk}")
    section = page.partition('id="attempts"')[2].partition("</section>")[0]
    assert "evil 6.6" in section
    assert section.index("evil.example:443") < section.index("7 more like it")

    version = page.partition("?v=")[2].partition('"')[0]
    same = browser.get(f"/sandboxes/{box.pk}?v={version}", headers={"HX-Request": "true"})
    assert same.status_code == 204
    Connection.objects.filter(pk=row.pk).update(repeats=8)
    now = browser.get(f"/sandboxes/{box.pk}?v={version}", headers={"HX-Request": "true"})
    assert "8 more like it" in now.content.decode()


def test_names_are_shown_as_text(client_of: ClientOf, alice: User, box: Sandbox) -> None:
    download(box, filename="<script>1</script>", client="<b> 1")
    attempt(box, host="<i>", reason="<u>")
    page = _page(client_of(alice), f"/sandboxes/{box.pk}")
    assert not any(tag in page for tag in ("<script>1", "<b> 1", "<i>", "<u>"))


def test_whoever_sees_all_sandboxes_sees_the_counts(
    client_of: ClientOf, alice: User, iris: User, box: Sandbox
) -> None:
    download(box)
    attempt(box, repeats=2)
    page = _page(client_of(iris), "/sandboxes")
    assert "1 download at run time" in page
    assert "3 attempts to get out" in page
    assert "at run time" not in _page(client_of(alice), "/sandboxes")
