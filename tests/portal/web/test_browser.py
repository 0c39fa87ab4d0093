"""In a real browser: the policy panel, the keyboard, the live page, and what our content policy blocks.

Chromium is the machine's own. Without one these tests are skipped, and say so.
"""

import os
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from portal.accounts.models import User
from portal.approvals.models import Request, State
from sandboxes.index.models import Waiver
from sandboxes.lifecycle.queries import index_url
from sandboxes.usage.models import Fetch
from tests.portal.web import world
from tests.portal.web.test_held import stored

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=15_000)  # a live part is looked at every five seconds
PASSWORD = "correct horse battery"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright runs an event loop in this thread, which Django would otherwise take for its own."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            yield chromium
            chromium.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """A window at phone width. Whatever its console complains about fails the test: blocked scripts, lost files."""
    context = browser.new_context(base_url=live_server.url, viewport={"width": 390, "height": 844})
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if _is_complaint(said) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(10_000)
    yield page
    context.close()
    assert complaints == []


def _is_complaint(said: ConsoleMessage) -> bool:
    """Not a form that is refused (422), nor a look at a live part that leaving the page cut off."""
    harmless = ("status of 422", "htmx:sendAbort", "htmx:sendError", "htmx:afterRequest")
    return said.type == "error" and not any(text in said.text for text in harmless)


def _sign_in(page: Page, person: User) -> None:
    person.set_password(PASSWORD)
    person.save(update_fields=["password"])
    page.goto("/")
    page.get_by_label("Username").fill(person.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Your sandboxes")).to_be_visible()


def _tab_to(page: Page, name: str) -> None:
    """Tab until something with this name has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        label: Any = page.evaluate(
            "() => { const e = document.activeElement; return (e.labels?.[0] ?? e).textContent.trim(); }"
        )
        if re.match(name, label):
            return
    pytest.fail(f"Tab never reaches {name}")


def test_the_panel_answers_while_the_form_is_filled(page: Page, alice: User) -> None:
    _sign_in(page, alice)
    page.get_by_role("link", name="New request").first.click()
    panel = page.get_by_role("complementary", name="What policy will say")
    expect(panel).to_contain_text("Approved at once")
    page.get_by_role("radio", name=re.compile("^GPU")).check()
    expect(panel).to_contain_text("An approver decides")
    page.get_by_role("radio", name=re.compile("^Python")).check()
    page.get_by_role("radio", name=re.compile("Personal data")).check()
    expect(panel).to_contain_text("Personal data may not be used in a sandbox")
    page.get_by_role("radio", name=re.compile("Public")).check()
    page.get_by_role("radio", name="Other").check()
    page.get_by_label("Other duration").fill("PT10M")
    expect(panel).to_contain_text("Approved at once")


def test_a_request_with_the_keyboard_alone(page: Page, alice: User) -> None:
    _sign_in(page, alice)
    page.goto("/requests/new")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    _tab_to(page, "Purpose")
    page.keyboard.type("Compare two table libraries")
    _tab_to(page, "Tools")
    page.keyboard.type("rich, tabulate")
    _tab_to(page, "1 day")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="3 days")).to_be_checked()
    _tab_to(page, "Why this tool")
    for answer in ("It is asked for", "MIT", "Its own page", "It sees nothing of ours"):
        page.keyboard.type(answer)
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send request")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Python sandbox")).to_be_visible()
    made = Request.objects.get()
    assert made.state == State.APPROVED
    assert made.duration.days == 3


def test_what_is_missing_is_told_where_the_focus_is(page: Page, alice: User) -> None:
    _sign_in(page, alice)
    page.goto("/requests/new")
    page.get_by_label("Tools").fill("rich")
    with page.expect_response(lambda answer: answer.status == 422):
        page.get_by_role("button", name="Send request").click()
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link", name="Say what you want to find out.").click()
    expect(page.get_by_label("Purpose")).to_be_focused()
    expect(page.get_by_label("Tools")).to_have_value("rich")


def test_a_sandbox_changes_under_the_readers_eyes(page: Page, alice: User) -> None:
    """Focus, opened details and the shown token survive while installs come in; the end arrives by itself."""
    _sign_in(page, alice)
    sandbox = world.ready(alice)
    page.goto(f"/sandboxes/{sandbox.pk}")
    page.get_by_role("link", name="Show the token").click()
    expect(page.locator("#index")).to_have_text(index_url(sandbox))
    expect(page.get_by_label("Copy the pip command")).to_be_focused()
    page.locator("summary", has_text="Ask for more time").click()
    why = page.get_by_label("Why")
    why.fill("One more table")
    world.install(sandbox, "tabulate")
    expect(page.get_by_role("rowheader", name="tabulate")).to_be_visible()
    expect(why).to_have_value("One more table")
    expect(why).to_be_focused()
    expect(page.locator("#index")).to_have_text(index_url(sandbox))
    world.over(sandbox)
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    expect(page.locator("#index")).to_have_count(0)


def test_a_waiver_in_two_clicks(page: Page, alice: User) -> None:
    """From the sandbox's page, as from a terminal: one click explains, one asks."""
    world.demo()
    sandbox = world.ready(alice)
    Fetch.objects.create(sandbox=sandbox, kind="page", project="demo", withheld="2.0", withheld_by="cooldown")
    world.install(sandbox, "demo", "1.0", ago=timedelta(seconds=-5))
    _sign_in(page, alice)
    page.goto(f"/sandboxes/{sandbox.pk}")
    page.get_by_role("link", name=re.compile("^2.0")).click()
    expect(page.get_by_role("heading", level=1, name="Why demo 2.0 is not given")).to_be_visible()
    page.get_by_label("What for").fill("For the demo")
    page.get_by_role("button", name="Ask for a waiver").click()
    expect(page.get_by_text("A waiver is asked for.")).to_be_visible()
    waiver = Waiver.objects.get()
    assert (waiver.rule, waiver.scope, waiver.subject) == ("cooldown", "sandbox", str(sandbox.pk))
    assert abs(waiver.until - waiver.asked_at - timedelta(days=30)) < timedelta(minutes=1)


def test_no_page_is_wider_than_a_phone(page: Page, ada: User) -> None:
    _sign_in(page, ada)
    sandbox = world.over(world.ready(ada))
    waits = world.wait(ada)
    box = world.ready(ada)
    world.install(box, "rich")
    world.demo()
    world.policy_of("gpu")
    waiver = world.waiver(ada, box)
    paths = [
        *(
            "/",
            "/requests/new",
            "/queue",
            "/sandboxes?show=all",
            "/reports/usage",
            "/ledger",
            "/profile",
            "/rules",
        ),
        *(f"/sandboxes/{sandbox.pk}", f"/sandboxes/{box.pk}", f"/requests/{waits.pk}"),
        *("/why/pypi/demo/2.0/", "/why/pypi/unseen/1.0/", "/policy", "/policy/profiles/gpu"),
        *("/waivers?show=all", f"/waivers/{waiver.pk}", "/waivers/break-glass"),
    ]
    page.set_viewport_size({"width": 360, "height": 740})
    for path in paths:
        page.goto(path)
        width: Any = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, path


def test_tables_stack_on_a_phone_and_the_menu_opens(page: Page, ada: User, alice: User) -> None:
    """No table is wider than the phone, and each cell says what it is; seven screens are behind one line."""
    world.ready(alice)
    _sign_in(page, ada)
    expect(page.get_by_role("link", name="Operate")).to_be_hidden()
    page.locator("summary", has_text="Menu").click()
    page.get_by_role("link", name="Sandboxes", exact=True).click()
    cell = page.locator("td[data-label=Phase]")
    expect(cell).to_contain_text("Ready")
    assert page.locator(".scroll").evaluate("node => node.scrollWidth <= node.clientWidth")
    assert cell.evaluate("node => getComputedStyle(node, '::before').content") == '"Phase"'


def test_ending_takes_two_presses(page: Page, alice: User) -> None:
    _sign_in(page, alice)
    sandbox = world.ready(alice)
    page.goto(f"/sandboxes/{sandbox.pk}")
    sure = page.get_by_role("button", name="Delete everything and end it")
    expect(sure).to_be_hidden()
    page.locator("summary", has_text="End now").click()
    sure.click()
    expect(page.get_by_text("It is ending. Its receipt appears here.")).to_be_visible()


def test_an_advisory_is_declared_with_what_it_hits_in_sight(page: Page, ada: User, alice: User) -> None:
    world.install(world.ready(alice), "evil", "2.1")
    _sign_in(page, ada)
    page.goto("/advisories/declare")
    panel = page.get_by_role("complementary", name="What it hits")
    expect(panel).to_contain_text("Name a project")
    expect(page.get_by_label("To before")).to_be_hidden()
    page.get_by_label("Project").fill("evil")
    expect(panel).to_contain_text("1, in 1 sandbox ever")
    page.get_by_role("radio", name="A range").check()
    page.get_by_label("To before").fill("2.0")
    expect(panel).to_contain_text("Nobody here ever installed")
    page.get_by_label("Why").fill("It steals tokens")
    page.get_by_role("button", name="Declare it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("PETRI-")
    expect(page.get_by_role("main")).to_contain_text("From the first to before 2.0")


def test_a_held_file_is_released(page: Page, iris: User) -> None:
    row = world.held()
    _sign_in(page, iris)
    page.goto("/queue")
    page.get_by_role("link", name="Held file: evil 2.0").click()
    expect(page.get_by_role("main")).to_contain_text("urllib.request.urlopen(BEACON)")
    page.get_by_label("Reason").fill("It may do that")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("heading", name="Released because")).to_be_visible()
    row.refresh_from_db()
    assert row.decided_by == iris


def test_code_opens_at_what_was_found(page: Page, iris: User, settings: Any, tmp_path: Path) -> None:
    settings.INDEX_FILES = tmp_path
    code = "X = 1\n" * 300 + "send()\n" + "X = 1\n" * 300
    digest = stored(tmp_path, "2.0", code)
    world.held(sha256=digest, findings=[{**world.FOUND, "line": 301}])
    _sign_in(page, iris)
    page.goto(f"/held/{digest}")
    code_box = page.get_by_role("group", name="evil/__init__.py")
    row, box = code_box.locator(".found").bounding_box(), code_box.bounding_box()
    assert row
    assert box
    assert box["y"] < row["y"] < box["y"] + box["height"] - row["height"]
    expect(code_box.get_by_text("lines not shown").first).to_be_attached()
    page.get_by_role("link", name="evil/__init__.py:301").click()
    expect(page.locator("tr:target")).to_contain_text("send()")
