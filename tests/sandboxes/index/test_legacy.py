"""The JSON that mirrors ask for: the same page, without what is refused, and recorded as every page is."""

import json
from datetime import UTC, datetime, timedelta

from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel


async def test_it_lists_what_is_given(index: Index, upstream: UpstreamServer, demo: Package) -> None:
    fresh, gone, first = make_wheel(version="2.0"), make_wheel(version="1.1"), make_wheel(version="3.0a1")
    upstream.add("demo", fresh, gone, first)
    upstream.extra[fresh.filename] = {"upload-time": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    upstream.extra[gone.filename] = {"yanked": "it loses data", "requires-python": ">=3.8"}
    reply = await index.ask("/pypi/Demo/json", Accept_Encoding="identity")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.headers["X-PyPI-Last-Serial"] == "1"
    document = json.loads(reply.body)
    assert document["info"]["version"] == "1.1"
    assert sorted(document["releases"]) == ["1.0", "1.1", "3.0a1"]
    [file] = document["releases"]["1.0"]
    assert file == {
        "filename": demo.filename,
        "url": f"{index.url}/packages/demo/{demo.sha256}/{demo.filename}",
        "digests": {"sha256": demo.sha256},
        "size": len(demo.data),
        "upload_time_iso_8601": "2026-01-02T03:04:05.678901Z",
        "packagetype": "bdist_wheel",
        "python_version": "py3",
        "requires_python": None,
        "yanked": False,
        "yanked_reason": None,
        "core-metadata": {"sha256": demo.metadata_sha256},
    }
    [yanked] = document["urls"]
    assert (yanked["yanked"], yanked["yanked_reason"]) == (True, "it loses data")
    [row] = await index.rows("SELECT kind, project, withheld, withheld_by FROM usage_fetch")
    assert dict(row) == {"kind": "page", "project": "demo", "withheld": "2.0", "withheld_by": "cooldown"}


async def test_its_files_are_the_indexs_files(index: Index, upstream: UpstreamServer, demo: Package) -> None:
    fresh = make_wheel(version="2.0")
    upstream.add("demo", fresh)
    upstream.extra[fresh.filename] = {"upload-time": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    path = f"/packages/demo/{demo.sha256}/{demo.filename}"
    assert (await index.ask(path)).body == demo.data
    assert (await index.ask(f"{path}.metadata")).body == demo.metadata
    refused = await index.ask(f"/packages/demo/{fresh.sha256}/{fresh.filename}")
    assert (refused.status, refused.reason.startswith("[cooldown] ")) == (403, True)
    installs = await index.rows("SELECT filename FROM usage_install")
    assert [row["filename"] for row in installs] == [demo.filename]


async def test_who_asks_without_a_token_or_for_nothing_gets_nothing(index: Index) -> None:
    assert (await index.ask("/pypi/demo/json", Authorization="")).status == 401
    assert (await index.ask("/pypi/nowhere/json")).status == 404
    assert (await index.ask("/pypi/-x-/json")).status == 404


async def test_an_upstream_that_is_gone_is_no_reason_to_forget(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    await index.ask("/simple/demo/")
    await upstream.stop()
    await index.expire_pages()
    reply = await index.ask("/pypi/demo/json", Accept_Encoding="identity")
    assert list(json.loads(reply.body)["releases"]) == ["1.0"]
    assert reply.headers["X-Petridish-Stale"]
