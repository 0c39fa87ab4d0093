"""Project pages, over HTTP: forms, redirects, conditional requests, and an upstream that fails."""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from time import monotonic

import pytest
from psycopg import AsyncConnection

import sandboxes.index.projects as kept_pages
from sandboxes.index.config import source
from sandboxes.index.projects import Projects
from sandboxes.index.storage.turns import Turns
from sandboxes.index.upstreams import Upstreams
from tests.sandboxes.index.conftest import Index, database_url
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

JSON = "application/vnd.pypi.simple.v1+json"


async def test_json_page(index: Index, demo: Package) -> None:
    reply = await index.ask("/simple/demo/", Accept=JSON)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == JSON
    assert reply.headers["Vary"] == "Accept, Accept-Encoding"
    assert reply.headers["Cache-Control"] == "max-age=0, must-revalidate"
    assert json.loads(reply.body) == {
        "meta": {"api-version": "1.4"},
        "name": "demo",
        "versions": ["1.0"],
        "files": [
            {
                "filename": demo.filename,
                "url": f"../../files/demo/{demo.sha256}/{demo.filename}",
                "hashes": {"sha256": demo.sha256},
                "yanked": False,
                "core-metadata": {"sha256": demo.metadata_sha256},
                "data-dist-info-metadata": {"sha256": demo.metadata_sha256},
                "size": len(demo.data),
                "upload-time": "2026-01-02T03:04:05.678901Z",
            }
        ],
    }


async def test_html_is_what_an_old_client_gets(index: Index, demo: Package) -> None:
    reply = await index.ask("/simple/demo/", Accept="*/*")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    page = reply.body.decode()
    assert '<meta name="pypi:repository-version" content="1.4">' in page
    assert f'<a href="../../files/demo/{demo.sha256}/{demo.filename}#sha256={demo.sha256}"' in page
    assert f">{demo.filename}</a>" in page


async def test_none_of_the_forms_is_406(index: Index, demo: Package) -> None:
    reply = await index.ask("/simple/demo/", Accept="image/png")
    assert reply.status == 406
    assert JSON in json.loads(reply.body)["detail"]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "/simple/"),
        ("/simple/demo", "/simple/demo/"),
        ("/simple/Demo_Pack.age/", "/simple/demo-pack-age/"),
        ("/simple/DEMO?x=1&y=%2F", "/simple/demo/?x=1&y=%2F"),
    ],
)
async def test_redirects_to_the_one_name(index: Index, path: str, location: str) -> None:
    reply = await index.ask(path)
    assert (reply.status, reply.headers["Location"]) == (301, location)


async def test_not_modified(index: Index, demo: Package) -> None:
    first = await index.ask("/simple/demo/", Accept=JSON)
    again = await index.ask("/simple/demo/", Accept=JSON, If_None_Match=first.headers["ETag"])
    html = await index.ask("/simple/demo/", Accept="text/html", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert html.status == 200


async def test_packing(index: Index, upstream: UpstreamServer) -> None:
    upstream.add("many", *(make_wheel("many", f"1.{n}") for n in range(9)))
    gzipped = await index.ask("/simple/many/", Accept=JSON, Accept_Encoding="gzip, deflate")
    zstandard = await index.ask("/simple/many/", Accept=JSON, Accept_Encoding="gzip, deflate, zstd")
    plain = await index.ask("/simple/many/", Accept=JSON, Accept_Encoding="gzip;q=0")
    assert gzipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(gzipped.body) == plain.body
    assert zstandard.headers["Content-Encoding"] == "zstd"
    assert zstd.decompress(zstandard.body) == plain.body
    assert "Content-Encoding" not in plain.headers
    assert len({reply.headers["ETag"] for reply in (gzipped, zstandard, plain)}) == 3
    again = await index.ask(
        "/simple/many/", Accept=JSON, Accept_Encoding="zstd", If_None_Match=zstandard.headers["ETag"]
    )
    assert again.status == 304


async def test_upstream_is_asked_once_while_a_page_is_fresh_then_with_its_etag(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    for _ in range(3):
        assert (await index.ask("/simple/demo/")).status == 200
    assert upstream.asked["/simple/demo/"] == 1
    await index.expire_pages()
    assert (await index.ask("/simple/demo/")).status == 200
    assert upstream.asked["/simple/demo/"] == 2
    assert "If-None-Match" in upstream.headers["/simple/demo/"]
    upstream.add("demo", make_wheel(version="2.0"))
    await index.expire_pages()
    assert b"demo-2.0" in (await index.ask("/simple/demo/", Accept_Encoding="identity")).body


@pytest.fixture
async def projects(index: Index, upstream: UpstreamServer) -> AsyncIterator[Projects]:
    asked = Upstreams([source("INDEX_UPSTREAM", upstream.url)])
    made = Projects(index.database, asked, Turns(index.folder / "turns"))
    yield made
    await made.close()
    await asked.close()


async def test_many_who_ask_at_once_cause_one_request(
    projects: Projects, upstream: UpstreamServer, demo: Package
) -> None:
    shown = await asyncio.gather(*(projects.page("demo") for _ in range(20)))
    assert len({each.digest for each in shown}) == 1
    assert upstream.asked["/simple/demo/"] == 1


async def test_a_page_is_had_while_it_is_written_down_and_given_only_after(
    projects: Projects, upstream: UpstreamServer, demo: Package
) -> None:
    async with await AsyncConnection.connect(database_url()) as other:
        await other.execute("LOCK TABLE index_project IN SHARE MODE")  # others read, and wait to write
        arrival = await projects.arrival("demo")
        assert arrival.shown.page.files
        given = asyncio.create_task(projects.page("demo"))
        assert await projects.arrival("demo") is arrival
        assert not (await asyncio.wait([given], timeout=0.2))[0]
    assert await given == arrival.shown
    assert upstream.asked["/simple/demo/"] == 1


async def test_a_page_that_cannot_be_written_down_is_not_given(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    await index.rows("ALTER TABLE index_project ADD CONSTRAINT nothing CHECK (name = '')")
    try:
        for _ in range(2):
            reply = await index.ask("/simple/demo/")
            assert (reply.status, reply.reason) == (
                503,
                "The index's database refuses to read or write; try again.",
            )
    finally:
        await index.rows("ALTER TABLE index_project DROP CONSTRAINT nothing")
    assert (await index.ask("/simple/demo/")).status == 200


async def test_unknown_project_is_404_and_remembered_shortly(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        reply = await index.ask("/simple/nowhere/")
        assert (reply.status, reply.reason) == (404, "No project nowhere at the upstream index.")
        assert reply.headers["Content-Type"] == "application/problem+json"
    assert upstream.asked["/simple/nowhere/"] == 1
    upstream.add("nowhere", make_wheel("nowhere"))
    monkeypatch.setattr(kept_pages, "monotonic", lambda: monotonic() + 60.0)
    assert (await index.ask("/simple/nowhere/")).status == 200


async def test_made_up_names_leave_nothing_but_the_record(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_pages, "monotonic", lambda: 0.0)  # nothing is forgotten by its time
    for number in range(5):
        assert (await index.ask(f"/simple/made-up-{number}/")).status == 404
    assert await index.rows("SELECT name FROM index_project") == []
    assert (await index.ask("/simple/made-up-0/")).status == 404
    assert set(upstream.asked.values()) == {1}


async def test_a_project_that_is_gone_is_remembered_by_its_row(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    await index.ask("/simple/demo/")
    kept = upstream.projects.pop("demo")
    await index.expire_pages()
    assert [(await index.ask("/simple/demo/")).status for _ in range(2)] == [404, 404]
    assert upstream.asked["/simple/demo/"] == 2
    upstream.projects["demo"] = kept
    await index.expire_pages()
    assert (await index.ask("/simple/demo/")).status == 200


async def test_impossible_names_are_not_asked_for(index: Index, upstream: UpstreamServer) -> None:
    for path in ("/simple/%2e%2e/", "/simple/-x-/", "/simple/a%2Fb/", f"/simple/{'a' * 300}/", "/elsewhere"):
        assert (await index.ask(path)).status == 404
    assert not upstream.asked


@pytest.mark.parametrize("failure", ["down", "500"])
async def test_a_known_page_is_shown_stale_when_the_upstream_fails(
    index: Index, upstream: UpstreamServer, demo: Package, failure: str
) -> None:
    fresh = await index.ask("/simple/demo/")
    assert "X-Petridish-Stale" not in fresh.headers
    await index.expire_pages()
    upstream.page_status = 500
    if failure == "down":
        await upstream.stop()
    stale = await index.ask("/simple/demo/")
    assert (stale.status, stale.body) == (200, fresh.body)
    assert stale.headers["X-Petridish-Stale"].startswith("The upstream index (127.0.0.1) ")


@pytest.mark.parametrize("failure", ["down", "500"])
async def test_an_unknown_page_is_502_with_a_reason(
    index: Index, upstream: UpstreamServer, demo: Package, failure: str
) -> None:
    upstream.page_status = 500
    if failure == "down":
        await upstream.stop()
    reply = await index.ask("/simple/demo/")
    problem = json.loads(reply.body)
    assert reply.status == 502
    assert reply.reason == problem["detail"]
    assert reply.reason.startswith("The upstream index (127.0.0.1) ")
    assert reply.headers["Content-Type"] == "application/problem+json"


async def listed(index: Index, auth: str = "") -> list[str]:
    reply = await index.ask("/simple/", Accept=JSON, Authorization=auth or index.auth)
    return [project["name"] for project in json.loads(reply.body)["projects"]]


async def test_project_list_names_what_was_asked_for(
    index: Index, upstream: UpstreamServer, demo: Package, big: Package
) -> None:
    assert await listed(index) == []
    for project in ("demo", "nowhere", "big", "demo"):
        await index.ask(f"/simple/{project}/")
    reply = await index.ask("/simple/", Accept=JSON)
    assert json.loads(reply.body) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "big"}, {"name": "demo"}],
    }
    assert b'<a href="demo/">demo</a>' in (await index.ask("/simple/")).body


async def test_project_list_does_not_tell_what_others_try(
    index: Index, neighbour: str, demo: Package, big: Package
) -> None:
    await index.ask("/simple/demo/")
    await index.ask("/simple/big/", Authorization=neighbour)
    await index.ask("/npm/big", Authorization=index.auth)  # of another world, whose names are not listed here
    assert await listed(index) == ["demo"]
    assert await listed(index, neighbour) == ["big"]


@pytest.mark.parametrize("floor", [{"cooldown": timedelta()}])  # HTML dates nothing
async def test_upstream_that_speaks_html_only(index: Index, upstream: UpstreamServer, demo: Package) -> None:
    upstream.html = True
    page = json.loads((await index.ask("/simple/demo/", Accept=JSON)).body)
    assert page["meta"] == {"api-version": "1.0"}  # 1.1 promises sizes, which HTML does not say
    [file] = page["files"]
    assert file["hashes"] == {"sha256": demo.sha256}
    assert file["core-metadata"] == {"sha256": demo.metadata_sha256}
    url = f"/files/demo/{demo.sha256}/{demo.filename}"
    assert int((await index.ask(url, "HEAD")).headers["Content-Length"]) == len(demo.data)
    assert (await index.ask(url)).body == demo.data
    [install] = await index.rows("SELECT size FROM usage_install")
    assert install["size"] == len(demo.data)
