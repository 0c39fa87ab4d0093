"""Held files: in the queue, on their page with the evidence, and decided."""

import io
import re
import zipfile
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.index.models import File
from sandboxes.index.storage.folder import Folder
from sandboxes.screening import deciding
from sandboxes.screening.models import Verdict
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def _page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def stored(folder: Path, version: str, code: str, **members: str) -> str:
    """A wheel in the index's folder; its sha256."""
    data = io.BytesIO()
    info = f"evil-{version}.dist-info"
    contents = {"evil/__init__.py": code, f"{info}/METADATA": "Name: evil\n", f"{info}/RECORD": ""}
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in (contents | {f"{info}/WHEEL": "Wheel-Version: 1.0\n"} | members).items():
            archive.writestr(path, text)
    digest = sha256(data.getvalue()).hexdigest()
    place = Folder(folder).place(digest)
    place.parent.mkdir(parents=True)
    place.write_bytes(data.getvalue())
    return digest


def test_it_waits_in_the_queue_with_why_and_for_whom(client_of: ClientOf, iris: User, alice: User) -> None:
    row = world.held(ago=timedelta(hours=3))
    world.refused(world.ready(alice), row)
    world.held("other")
    world.wait(alice)
    browser = client_of(iris)
    page = _page(browser, "/queue")
    assert f'href="/held/{row.sha256}">Held file: evil 2.0<' in page
    assert "It connects to another machine as soon as it is imported." in page
    assert re.search(r"1 sandbox\s+waits for it:.*Alice", page)
    assert "Held 3 hours" in page
    assert page.index("evil 2.0") < page.index("GPU for")  # the longest waiting first
    assert re.search(r'Queue\s*<span class="count">3<', page)
    found = _page(browser, "/queue?q=evil")
    assert "evil 2.0" in found
    assert "other 2.0" not in found
    assert "evil 2.0" in _page(browser, "/queue?profile=python")  # alice's
    assert "other 2.0" not in _page(browser, "/queue?profile=python")
    deciding.block(row.sha256, iris, "Bad")
    assert "evil 2.0" not in _page(browser, "/queue")


def test_what_is_held_and_what_was_decided(client_of: ClientOf, iris: User) -> None:
    world.held()
    deciding.release(world.held("fine").sha256, iris, "It may do that")
    page = _page(client_of(iris), "/held")
    assert "Held file: evil 2.0" in page
    assert "Held file: fine" not in page
    assert "It may do that" in page
    assert "No held file matches" in _page(client_of(iris), "/held?q=absent")


def test_the_evidence_by_ability_the_gravest_first(client_of: ClientOf, iris: User) -> None:
    low = {
        **world.FOUND,
        "ability": "process",
        "threat": "low",
        "why": "It starts <b>git</b>.",
        "excerpt": "",
    }
    hidden = {**world.FOUND, "excerpt": "run('\u202egpj.exe')", "line": 9}
    row = world.held(findings=[low, hidden, world.FOUND])
    page = _page(client_of(iris), f"/held/{row.sha256}")
    groups = re.findall(r'id="group-\d+">([^<]+)<.*?class="badge \w+">([^<]+)<', page)
    assert groups == [("Connects", "Critical"), ("Starts programs", "Low")]
    assert "evil/__init__.py:3" in page
    assert "urllib.request.urlopen(BEACON)" in page
    assert "It starts &lt;b&gt;git&lt;/b&gt;." in page
    assert "\\u{202e}" in page
    assert "\u202e" not in page
    assert client_of(iris).get(f"/held/{'0' * 64}").status_code == 404


def test_side_by_side_with_the_previous_release(
    client_of: ClientOf, iris: User, settings: Any, tmp_path: Path
) -> None:
    settings.INDEX_FILES = tmp_path
    old = stored(tmp_path, "1.0", "import json\nX = 1\n")
    new = stored(tmp_path, "2.0", "import json\nX = 1\nsend('<script>')\n")
    world.held(version="1.0", sha256=old, state="passed")
    row = world.held(sha256=new, former_sha256=old)
    page = _page(client_of(iris), f"/held/{row.sha256}")
    assert re.search(r'<tr class="same"><td class="n was">1</td><td class="was"><code>import json', page)
    line = re.search(r'<tr class="new found"[^>]*>.*?</tr>', page)
    assert line
    assert "send(&#x27;&lt;script&gt;&#x27;)" in line[0]
    assert "METADATA" not in page.partition('id="code"')[2]  # nothing was found there


def test_the_previous_release_as_the_index_knows_it(
    client_of: ClientOf, iris: User, settings: Any, tmp_path: Path
) -> None:
    """Screening never looked at it."""
    settings.INDEX_FILES = tmp_path
    old, new = stored(tmp_path, "1.0", "a\nb\nX\n"), stored(tmp_path, "2.0", "a\nb\nY\n")
    row = world.held(sha256=new, former_sha256=old)
    browser = client_of(iris)
    assert "previous release’s bytes cannot be read" in _page(browser, f"/held/{new}")
    File.objects.create(
        project="evil",
        filename="evil-1.0-py3-none-any.whl",
        version="1.0",
        sha256=old,
        url="https://files.example.org/evil",
        asked_at=row.at,
    )
    assert '<tr class="changed found"' in _page(browser, f"/held/{new}")


def test_bytes_that_are_not_here_are_said_to_be(
    client_of: ClientOf, iris: User, settings: Any, tmp_path: Path
) -> None:
    settings.INDEX_FILES = tmp_path
    row = world.held()
    assert "Its bytes cannot be read from here" in _page(client_of(iris), f"/held/{row.sha256}")
    broken = world.held("bomb", findings=[], broken="it unpacks to more than 8 GiB")
    page = _page(client_of(iris), f"/held/{broken.sha256}")
    assert "It unpacks to more than 8 GiB" in page
    assert "The code" not in page


def test_what_nothing_is_known_of_has_a_page_too(client_of: ClientOf, iris: User) -> None:
    plain: dict[str, Any] = {"ecosystem": "", "filename": "", "level": "", "reason": "", "findings": []}
    plain["scanned_by"] = 0  # what screens says what it looked at
    row = world.held("", "", sha256="a" * 64, **plain)
    browser = client_of(iris)
    page = _page(browser, f"/held/{row.sha256}")
    assert "Nothing that screening found is on record." in page
    assert "What speaks against this version" not in page
    assert row.sha256[:12] in _page(browser, "/held")
    assert row.sha256[:12] in _page(browser, "/queue")


@pytest.mark.parametrize(
    ("decision", "state", "said"),
    [("release", "passed", "Released"), ("block", "blocked", "Blocked")],
)
def test_decided_on_its_page(client_of: ClientOf, iris: User, decision: str, state: str, said: str) -> None:
    row = world.held()
    browser, address = client_of(iris), f"/held/{row.sha256}/decide"
    nothing = browser.post(address, {"decision": decision, "reason": " "})
    assert nothing.status_code == 422
    assert "Say why" in nothing.content.decode()
    assert browser.post(address, {"decision": "eat", "reason": "Why"}).status_code == 422
    page = browser.post(address, {"decision": decision, "reason": "Read all of it"}, follow=True)
    assert f"{said} because" in page.content.decode()
    assert "Read all of it" in page.content.decode()
    row.refresh_from_db()
    assert (row.state, row.decided_by) == (state, iris)
    late = browser.post(address, {"decision": "block", "reason": "No"}, follow=True).content.decode()
    assert "it already" in late
    row.refresh_from_db()
    assert row.state == state


def test_nobody_releases_what_their_own_sandbox_waits_for(
    client_of: ClientOf, iris: User, igor: User
) -> None:
    row = world.held()
    world.refused(world.ready(iris), row)
    page = _page(client_of(iris), f"/held/{row.sha256}")
    assert "another approver releases it" in page
    assert 'value="release"' not in page
    address = f"/held/{row.sha256}/decide"
    assert client_of(iris).post(address, {"decision": "release", "reason": "Fine"}).status_code == 403
    assert Verdict.objects.get(pk=row.pk).decision == ""
    assert client_of(igor).post(address, {"decision": "release", "reason": "Fine"}).status_code == 302
    assert Verdict.objects.get(pk=row.pk).decided_by == igor


def test_taken_back_a_block_by_an_admin_alone(client_of: ClientOf, iris: User, ada: User) -> None:
    blocked, released = world.held("one"), world.held("two")
    deciding.block(blocked.sha256, iris, "Bad")
    deciding.release(released.sha256, iris, "Fine")
    form = {"decision": "reopen", "reason": "Look again"}
    approver = client_of(iris)
    assert "Take it back" not in _page(approver, f"/held/{blocked.sha256}")
    assert approver.post(f"/held/{blocked.sha256}/decide", form).status_code == 403
    assert approver.post(f"/held/{released.sha256}/decide", form).status_code == 302
    assert client_of(ada).post(f"/held/{blocked.sha256}/decide", form).status_code == 302
    assert set(Verdict.objects.values_list("state", "decision")) == {("held", "")}


def test_a_finding_leads_to_its_line_and_is_said_once(
    client_of: ClientOf, iris: User, settings: Any, tmp_path: Path
) -> None:
    settings.INDEX_FILES = tmp_path
    code = "X = 1\n" * 300 + "send()\n" + "X = 1\n" * 9 + "send()\n"
    found = [{**world.FOUND, "line": line} for line in (301, 311)]
    row = world.held(sha256=stored(tmp_path, "2.0", code), findings=found)
    page = _page(client_of(iris), f"/held/{row.sha256}")
    for line in (301, 311):
        assert f'<a href="#code-1-{line}"><code>evil/__init__.py:{line}</code></a>' in page
        assert f'class="same found" id="code-1-{line}"' in page
    assert page.count(f'<h3 class="wrap">{world.FOUND["why"]}</h3>') == 1
    assert '<tr class="cut"><td colspan="2">200 lines not shown' in page


def test_where_the_code_is_not_here_a_finding_leads_nowhere(client_of: ClientOf, iris: User) -> None:
    assert "#code-" not in _page(client_of(iris), f"/held/{world.held().sha256}")
