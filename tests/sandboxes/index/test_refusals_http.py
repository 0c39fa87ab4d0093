"""One decision on every route and method, as HTTP: allowed or refused."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandboxes.index import files
from tests.sandboxes.index.conftest import PORTAL, Index, path_of
from tests.sandboxes.index.refusing import ADVISED, ASKED, DAY, JSON, JUDGED, LISTED, SET, ago, stored, until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel


@pytest.fixture
def fresh(upstream: UpstreamServer, demo: Package) -> Package:
    """Version 2.0 of the project `demo`, uploaded yesterday; 1.0 is old."""
    package = make_wheel(version="2.0")
    upstream.add("demo", package)
    upstream.extra[package.filename] = {"upload-time": ago(DAY)}
    return package


@pytest.mark.parametrize(("suffix", "method", "headers"), ASKED)
@pytest.mark.parametrize("kept", [True, False])
async def test_what_is_refused_is_refused_however_it_is_asked_for(
    index: Index,
    upstream: UpstreamServer,
    fresh: Package,
    suffix: str,
    method: str,
    headers: Any,
    kept: bool,
) -> None:
    path = path_of(fresh) + suffix
    if kept:
        await _store(index, path)
    before = dict(upstream.asked)
    reply = await index.ask(path, method, **headers)
    assert reply.status == 403
    assert reply.reason.startswith("[cooldown] released ")
    assert reply.reason.endswith(f"; why {PORTAL}/why/pypi/demo/2.0/")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Cache-Control"] == "no-store"
    if not kept:
        assert not {path for path in upstream.asked if path.startswith("/packages/")}
    else:
        assert dict(upstream.asked) == before
    assert await index.rows("SELECT 1 FROM usage_install") == []
    [fetch] = await index.rows("SELECT kind, refused FROM usage_fetch WHERE kind <> 'page' AND refused <> ''")
    assert (fetch["kind"], fetch["refused"]) == ("metadata" if suffix else "file", "cooldown")


async def _store(index: Index, path: str) -> None:
    """As if it had been given before: the bytes are there, the rows of it are not."""
    await index.rows("UPDATE index_policysetting SET cooldown = '0'")
    await until(index, path, 200)
    await index.rows("UPDATE index_policysetting SET cooldown = '7 days'")
    await until(index, path, 403)
    await index.rows("DELETE FROM usage_install")
    await index.rows("DELETE FROM usage_fetch")


@pytest.mark.parametrize(("suffix", "method", "headers"), ASKED)
async def test_what_is_allowed_is_given_however_it_is_asked_for(
    index: Index, demo: Package, suffix: str, method: str, headers: Any
) -> None:
    reply = await index.ask(path_of(demo) + suffix, method, **headers)
    assert reply.status in (200, 206, 304)
    assert await index.rows("SELECT 1 FROM usage_fetch WHERE refused <> ''") == []


async def test_the_whole_of_it_is_in_the_problem_document(index: Index, fresh: Package) -> None:
    reply = await index.ask(path_of(fresh))
    problem = json.loads(reply.body)
    opens = datetime.fromisoformat(problem["until"])
    assert abs(opens - datetime.now(UTC) - 6 * DAY) < timedelta(minutes=5)
    assert problem == {
        "title": "Too fresh to be given",
        "status": 403,
        "detail": f"{reply.reason} (a waiver can be asked for there)",
        "code": "policy",
        "rule": "cooldown",
        "until": problem["until"],
        "why": f"{PORTAL}/why/pypi/demo/2.0/",
        "waivable": True,
    }


async def test_the_page_says_the_same_and_is_always_given(index: Index, fresh: Package) -> None:
    reply = await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")
    old, new = json.loads(reply.body)["files"]
    refused = await index.ask(path_of(fresh))
    assert (reply.status, old["yanked"], new["yanked"]) == (200, False, refused.reason)
    assert "upload-time" in new
    html = (await index.ask("/simple/demo/", Accept="text/html", Accept_Encoding="identity")).body.decode()
    assert f'data-yanked="{refused.reason}"' in html


async def test_a_page_of_refused_files_alone_is_a_page(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    upstream.extra[demo.filename] = {"upload-time": ago(DAY)}
    reply = await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")
    assert reply.status == 200
    assert [file["yanked"][:10] for file in json.loads(reply.body)["files"]] == ["[cooldown]"]


async def test_the_projects_own_yank_stays(index: Index, upstream: UpstreamServer, fresh: Package) -> None:
    upstream.extra[fresh.filename] |= {"yanked": "data <loss>"}
    [_, file] = json.loads((await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")).body)[
        "files"
    ]
    assert file["yanked"].startswith("[cooldown] ")
    assert file["yanked"].endswith("/why/pypi/demo/2.0/ ; yanked by its own project: data <loss>")
    assert b"data &lt;loss&gt;" in (await index.ask("/simple/demo/", Accept_Encoding="identity")).body


@pytest.mark.parametrize("form", [JSON, "text/html"])
async def test_an_etag_stands_for_what_policy_says(index: Index, fresh: Package, form: str) -> None:
    first = await index.ask("/simple/demo/", Accept=form, Accept_Encoding="identity")
    again = await index.ask(
        "/simple/demo/", Accept=form, Accept_Encoding="identity", If_None_Match=first.headers["ETag"]
    )
    assert again.status == 304
    await index.rows("UPDATE index_policysetting SET cooldown = '0'")
    await until(index, path_of(fresh), 200)
    other = await index.ask(
        "/simple/demo/", Accept=form, Accept_Encoding="identity", If_None_Match=first.headers["ETag"]
    )
    assert (other.status, b"[cooldown]" in other.body) == (200, False)
    await index.rows("UPDATE index_policysetting SET cooldown = '7 days', most_bytes = 1 << 60")
    await until(index, path_of(fresh), 403)
    same = await index.ask(
        "/simple/demo/", Accept=form, Accept_Encoding="identity", If_None_Match=first.headers["ETag"]
    )
    assert same.status == 304  # another policy, the same page


@pytest.mark.parametrize("newer", ["2.0", "2.0rc1"])
async def test_what_a_page_withheld_is_written_down(
    index: Index, upstream: UpstreamServer, demo: Package, newer: str
) -> None:
    package = make_wheel(version=newer)
    upstream.add("demo", package)
    upstream.extra[package.filename] = {"upload-time": ago(DAY)}
    await index.ask("/simple/demo/")
    [fetch] = await index.rows("SELECT refused, withheld, withheld_by FROM usage_fetch")
    assert tuple(fetch.values()) == (("", "2.0", "cooldown") if newer == "2.0" else ("", "", ""))


REFUSED: list[tuple[str, str, str]] = [
    ("sdist", "", "a source distribution"),
    (
        "denied",
        LISTED.format("'deny', 'demo', 'it phones home', ''"),
        "demo is not given here: it phones home",
    ),
    ("internal-name", LISTED.format("'internal', 'dem*', '', ''"), "demo is a name of our own"),
    ("not-allowed", f"{SET} only_allowed = true", "demo 1.0 is not on the list"),
    ("frozen", f"{SET} freeze_at = '2025-01-01Z'", "released after 2025-01-01"),
    ("size", f"{SET} most_bytes = 9", "MiB; at most 0.0 MiB"),
    ("vulnerable", ADVISED, "critical vulnerability (PYSEC-1)"),
    ("blocked", JUDGED.format("'blocked'"), "blocked by a person"),
    ("held", JUDGED.format("'held'"), "a person has to look at"),
]


@pytest.mark.usefixtures("clear_screening")
@pytest.mark.parametrize(("rule", "statement", "reason"), REFUSED, ids=[case[0] for case in REFUSED])
async def test_each_rule_refuses_a_file_that_was_given_before(
    index: Index, upstream: UpstreamServer, demo: Package, rule: str, statement: str, reason: str
) -> None:
    """The bytes are stored and the upstream is down: what refuses is policy alone, and it holds within seconds."""
    file = Package("demo-1.0.tar.gz", b"any") if rule == "sdist" else demo
    upstream.projects["demo"] = [file]
    if rule != "sdist":
        assert (await index.ask(path_of(file))).status == 200
        await stored(index, file)
        await upstream.stop()
        await index.rows(statement, sha256=file.sha256)
    refused = await until(index, path_of(file), 403)
    assert refused.reason.startswith(f"[{rule}] ")
    assert reason in refused.reason
    page = json.loads((await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")).body)
    assert [each["yanked"] for each in page["files"]] == [refused.reason]
    [fetch] = await index.rows("SELECT DISTINCT refused FROM usage_fetch WHERE refused <> ''")
    assert fetch["refused"] == rule


async def test_a_stored_file_is_decided_by_what_its_page_says_now(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    """Its project yanks it, and yanked files are not given here: the row learns of it from the page."""
    await index.rows("UPDATE index_policysetting SET yanked = false")
    assert (await index.ask(path_of(demo))).status == 200
    await stored(index, demo)
    upstream.extra[demo.filename] = {"yanked": "broken"}
    await index.expire_pages()
    await index.ask("/simple/demo/")
    await upstream.stop()
    assert (await until(index, path_of(demo), 403)).reason.startswith("[yanked] ")


async def test_what_is_quarantined_later_is_given_no_more(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    """Its page lists nothing then; a lock file with the file's URL must not get around that."""
    assert (await index.ask(path_of(demo))).status == 200
    await stored(index, demo)
    upstream.statuses["demo"] = "quarantined"
    await index.expire_pages()
    page = json.loads((await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")).body)
    assert page["files"] == []
    for suffix in ("", ".metadata"):
        assert (await index.ask(f"{path_of(demo)}{suffix}")).status == 404


async def test_who_waited_for_a_file_is_decided_again_when_it_is_there(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    """A part of a file is answered when all of it arrived; what was denied meanwhile is not given then."""
    go_on = asyncio.Event()
    upstream.faults[demo.filename] = Fault(pause_at=0, go_on=go_on)
    waiting = asyncio.create_task(index.ask(path_of(demo), Range="bytes=0-9"))
    while not upstream.asked[f"/packages/{demo.filename}"]:  # noqa: ASYNC110 -- it counts what others ask
        await asyncio.sleep(0.01)
    await index.rows(LISTED.format("'deny', 'demo', '', ''"))
    while (await index.ask(path_of(demo), "HEAD")).status != 403:  # noqa: ASYNC110 -- another process decides
        await asyncio.sleep(0.05)
    go_on.set()
    assert (await waiting).status == 403


async def test_a_stored_file_without_a_page_is_decided_by_its_row(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_HOLDS", 0.0)  # seconds for which a row is not read again
    await index.ask(path_of(demo))
    await stored(index, demo)
    await upstream.stop()
    await index.rows("DELETE FROM index_project")
    assert (await index.ask(path_of(demo))).status == 200
    await index.rows("UPDATE index_file SET facts = facts - 'upload_time'")
    assert (await index.ask(path_of(demo))).reason.startswith("[cooldown] ")
    await index.rows("UPDATE index_file SET facts = jsonb_build_object('source', facts->'source')")
    assert (await index.ask(path_of(demo))).reason.startswith("[cooldown] ")
    await index.rows("UPDATE index_file SET facts = '{}'")  # nor does anybody know whose it is
    assert (await index.ask(path_of(demo))).status == 502


async def test_a_file_that_appears_on_a_known_page_waits_whatever_it_claims(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    await index.ask("/simple/demo/")
    late = make_wheel(version="1.1")
    upstream.add("demo", late)
    await index.rows("UPDATE index_project SET checked_at = now() - interval '1 day'")
    assert (await index.ask(path_of(late))).status == 403
    assert (await index.ask(path_of(demo))).status == 200


async def test_a_project_that_was_gone_for_a_while_is_as_old_as_before(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    await index.ask("/simple/demo/")
    packages = upstream.projects.pop("demo")
    await index.expire_pages()
    assert (await index.ask("/simple/demo/")).status == 404
    upstream.projects["demo"] = packages
    await index.expire_pages()
    assert (await index.ask(path_of(demo))).status == 200
