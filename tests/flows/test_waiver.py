"""A refusal in a terminal, and the way out of it: the link, two clicks, an approver, and the same command again.

Everything is as people have it: `make run`'s own processes, a real pip, and pages read and sent as a browser does.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import httpx
import psycopg
import pytest

from sandboxes.index.listener import CHANNEL
from tests.journey import TRIAL, local_upstream, people
from tests.petridish import Petridish, running, sign_in, wait_for
from tests.sandboxes.index.wheels import make_wheel


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Petridish]:
    """Upstream has a release of `fresh` that is a day old, and one that is old enough."""
    folder = tmp_path_factory.mktemp("waiver") / "data"
    with local_upstream() as upstream:
        new = make_wheel("fresh", "2.0")
        upstream.add("fresh", make_wheel("fresh", "1.0"), new)
        yesterday = datetime.now(UTC) - timedelta(days=1)
        upstream.extra[new.filename] = {"upload-time": yesterday.isoformat().replace("+00:00", "Z")}
        with running(folder, INDEX_UPSTREAM=upstream.url) as petridish:
            yield petridish


@contextmanager
def browser(portal: Petridish, username: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=portal.url, follow_redirects=True, timeout=30) as client:
        sign_in(client, username, portal.login(username)["password"])
        yield client


class Forms(HTMLParser):
    """The forms of a page, by where they are sent to, with what a browser would send if nothing was touched."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] | None = None
        self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._fields = self.forms.setdefault(given.get("action", ""), {})
        elif self._fields is None:
            return
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option" and ("selected" in given or self._select not in self._fields):
            self._fields[self._select] = given["value"]
        elif tag == "textarea":
            self._fields[given["name"]] = ""
        elif tag == "input" and (given.get("type") not in ("radio", "checkbox") or "checked" in given):
            self._fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._fields = None


def press(client: httpx.Client, page: httpx.Response, action: str, **typed: str) -> httpx.Response:
    """Presses the button of that form of the page, after typing into some of its fields."""
    answer = client.post(
        action, data=Forms(page.text).forms[action] | typed, headers={"Referer": str(page.url)}
    )
    assert answer.status_code == 200, answer.text
    return answer


def pip_install(index_url: str, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--no-input", "--no-cache-dir"]
    options = ["--index-url", index_url, "--target", str(target), "--retries", "0", "fresh==2.0"]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=60)


def is_withheld(index_url: str) -> bool:
    return "[cooldown]" in httpx.get(f"{index_url}fresh/").text


def number_of_waivers(database: psycopg.Connection) -> int:
    """How often waivers were written to, as every index process compares it with what it has read."""
    found = database.execute("SELECT number FROM index_epoch WHERE topic = 'index_waiver'").fetchone()
    return found[0] if found else 0


def test_from_a_refusal_in_the_terminal_to_the_install(portal: Petridish, tmp_path: Path) -> None:
    with people(portal) as person:
        alice = person("alice")
        sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
    refused = pip_install(sandbox["index_url"], tmp_path / "refused")
    assert refused.returncode != 0
    found = re.search(rf"\[cooldown\] .* why ({re.escape(portal.url)}/why/\S+/)", refused.stderr)
    assert found, refused.stderr

    with browser(portal, "alice") as owner, browser(portal, "iris") as approver:
        page = owner.get(found[1])  # the first click
        assert "Why fresh 2.0 is not given" in page.text
        told = press(owner, page, "/why/pypi/fresh/2.0/", reason="To compare it")  # the second
        assert "An approver decides" in told.text

        queue = approver.get("/queue")
        waiting = re.search(r'href="(/waivers/\d+)">Waiver for fresh 2\.0<', queue.text)
        assert waiting, queue.text
        with psycopg.connect(
            (portal.data_dir / "database_url").read_text().strip(), autocommit=True
        ) as database:
            database.execute(f"LISTEN {CHANNEL}".encode())
            before = number_of_waivers(database)
            decided = press(
                approver, approver.get(waiting[1]), f"{waiting[1]}/decide", decision="grant", reason="Fine"
            )
            assert "You granted this waiver." in decided.text
            # The grant's own transaction counts and tells; no index process has to be asked, or to ask for long.
            assert list(database.notifies(timeout=10, stop_after=1))
            assert number_of_waivers(database) > before

        wait_for(lambda: not is_withheld(sandbox["index_url"]))
        installed = pip_install(sandbox["index_url"], tmp_path / "installed")
        assert installed.returncode == 0, installed.stderr
        assert (tmp_path / "installed" / "fresh-2.0.dist-info").is_dir()
        assert "fresh 2.0 is given" in owner.get(found[1]).text

        press(owner, owner.get(waiting[1]), f"{waiting[1]}/end", reason="Compared")
        wait_for(lambda: is_withheld(sandbox["index_url"]))
        again = pip_install(sandbox["index_url"], tmp_path / "again")
        assert (again.returncode != 0, found[1] in again.stderr) == (True, True)
