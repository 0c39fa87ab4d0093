"""Files, over HTTP: which are given, stored ones after a look at their page, their metadata, and ranges."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from sandboxes.index import files
from sandboxes.index.database import Database
from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel


@pytest.fixture
def floor() -> dict[str, Any]:
    return {"sdists": True}


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was found a moment ago is taken to hold still."""
    monkeypatch.setattr(files, "_HOLDS", 0.0)


async def test_stored_files_outlive_the_upstream_and_their_page(
    index: Index, upstream: UpstreamServer, demo: Package, big: Package
) -> None:
    await index.ask(path_of(demo))
    await index.ask(f"{path_of(demo)}.metadata")
    await upstream.stop()
    await index.rows("DELETE FROM index_project")
    assert (await index.ask(path_of(demo))).body == demo.data
    assert (await index.ask(f"{path_of(demo)}.metadata")).body == demo.metadata
    missing = await index.ask(path_of(big, "big"))
    assert (missing.status, missing.reason) == (502, "The upstream index (127.0.0.1) cannot be reached.")


@pytest.mark.usefixtures("forgetful")
async def test_a_stored_file_that_its_page_lists_no_more_is_not_given(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    """Nor is its metadata, its head, a part, or "you have it": that is how an upstream takes back what is bad."""
    other = make_wheel(version="2.0")
    upstream.add("demo", other)
    for path in (path_of(demo), f"{path_of(demo)}.metadata", path_of(other)):
        assert (await index.ask(path)).status == 200
    upstream.projects["demo"] = [other]
    await index.expire_pages()
    for path in (path_of(demo), f"{path_of(demo)}.metadata"):
        for method, headers in (
            ("GET", {}),
            ("HEAD", {}),
            ("GET", {"Range": "bytes=0-9"}),
            ("GET", {"If_None_Match": f'"{demo.sha256}"'}),
        ):
            reply = await index.ask(path, method, **headers)
            assert reply.status == 404, (path, method, headers)
    assert (await index.ask(path_of(demo))).reason == (
        f"{demo.filename} was removed from demo at the upstream index."
    )
    assert (await index.ask(path_of(other))).body == other.data
    await upstream.stop()  # what was said stays said
    await index.expire_pages()
    assert (await index.ask(path_of(demo))).status == 404
    assert (await index.ask(path_of(other))).body == other.data


@pytest.mark.usefixtures("forgetful")
async def test_a_stored_file_of_a_project_that_is_gone_is_not_given(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    del upstream.projects["demo"]
    await index.expire_pages()
    reply = await index.ask(path_of(demo))
    assert (reply.status, reply.reason) == (404, "No project demo at the upstream index.")
    await upstream.stop()
    await index.expire_pages()
    assert (await index.ask(path_of(demo))).status == 502


@pytest.mark.usefixtures("forgetful")
async def test_a_stored_file_does_not_wait_for_an_upstream_that_says_nothing(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page that is kept says what holds; what the upstream says in the end holds from then on."""
    assert (await index.ask(path_of(demo))).status == 200
    go_on = asyncio.Event()
    monkeypatch.setattr(files, "_PATIENCE", 0.1)
    upstream.page_faults["demo"] = Fault(pause_at=0, go_on=go_on, times=1)
    upstream.projects["demo"] = [make_wheel(version="2.0")]
    await index.expire_pages()
    assert (await index.ask(path_of(demo))).body == demo.data
    assert upstream.asked["/simple/demo/"] == 2
    go_on.set()

    async def removed() -> bool:
        return (await index.ask(path_of(demo))).status == 404

    await until(removed)


async def test_many_who_ask_for_one_file_are_one_look_up(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cold and warm; and all are on record."""
    asked: Counter[str] = Counter()
    rows = Database.rows

    async def counted(self: Database, statement: str, values: dict[str, Any]) -> Any:
        if self is not index.database:
            asked[statement] += 1
        return await rows(self, statement, values)

    await index.ask("/simple/demo/")
    monkeypatch.setattr(Database, "rows", counted)
    for _ in range(2):
        replies = await asyncio.gather(*(index.ask(path_of(demo)) for _ in range(20)))
        assert {reply.body for reply in replies} == {demo.data}
    assert asked[files._FIND] == asked[files._KEEP] == 1
    assert len(await index.rows("SELECT 1 FROM usage_fetch WHERE kind = 'file'")) == 40


async def test_only_files_of_the_page_are_fetched(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    other = make_wheel(version="9.9")
    for path in (
        path_of(other),
        path_of(demo, "Demo"),
        path_of(demo, "nowhere"),
        f"/files/demo/{'0' * 64}/{demo.filename}",
        f"/files/demo/xyz/{demo.filename}",
        f"/files/demo/{demo.sha256}/..%2F{demo.filename}",
    ):
        assert (await index.ask(path)).status == 404
    assert not any(path.startswith("/packages/") for path in upstream.asked)


async def test_metadata_is_verified(index: Index, upstream: UpstreamServer, demo: Package) -> None:
    path = f"{path_of(demo)}.metadata"
    upstream.faults[demo.filename] = Fault(status=404)  # so the wheel cannot be looked at
    upstream.faults[f"{demo.filename}.metadata"] = Fault(data=b"Name: evil\n")
    bad = await index.ask(path)
    assert (bad.status, "another sha256" in bad.reason) == (424, True)
    upstream.faults.clear()
    assert (await index.ask(path)).body == demo.metadata
    assert (await index.ask(path)).headers["ETag"] == f'"{demo.metadata_sha256}"'
    assert upstream.asked[f"/packages/{demo.filename}.metadata"] == 2
    assert await index.rows("SELECT 1 FROM usage_install") == []


OTHER = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"


@pytest.mark.parametrize("floor", [{"sdists": True}])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (OTHER.format("other", "1.0"), "is no metadata of demo 1.0"),
        (OTHER.format("demo", "2.0"), "is no metadata of demo 1.0"),
        ("Name: demo\n", "is no metadata of demo 1.0"),
        ("#!/bin/sh\nexec evil\n", "is no metadata of demo 1.0"),
        (OTHER.format("demo", "1.0") + "\n" + "x" * (2 << 20), "is larger than 2 MiB"),
        (OTHER.format("demo", "1.0") + "\nPK\x03\x04\0\0", "is no metadata of demo 1.0"),
        (OTHER.format("demo", "1.0") + "\n\x7fELF\udcff\udcfe", "is no metadata of demo 1.0"),
    ],
)
async def test_metadata_must_be_of_its_file(
    index: Index, upstream: UpstreamServer, demo: Package, data: str, reason: str
) -> None:
    """And nothing else besides. Also when the same bytes came as a file before: the store knows their hash only."""
    evil = Package("demo-0.1.tar.gz", data.encode(errors="surrogateescape"))
    upstream.add("demo", evil)
    upstream.extra[demo.filename] = {"core-metadata": {"sha256": evil.sha256}}
    upstream.faults[f"{demo.filename}.metadata"] = Fault(data=evil.data)
    upstream.faults[demo.filename] = Fault(status=404)  # so the wheel cannot be looked at
    for stored in (False, True):
        if stored:
            assert (await index.ask(path_of(evil))).body == evil.data
        reply = await index.ask(f"{path_of(demo)}.metadata")
        assert (reply.status, reason in reply.reason) == (424, True)


async def test_metadata_names_are_compared_normalised(index: Index, upstream: UpstreamServer) -> None:
    wheel = make_wheel("my_demo", "1.0")
    metadata = OTHER.format("My.Demo", "1.0.0").encode()
    upstream.add("my-demo", Package(wheel.filename, wheel.data, metadata))
    assert (await index.ask(f"{path_of(wheel, 'my-demo')}.metadata")).body == metadata


async def test_another_projects_file_is_unknown_even_if_it_was_known_before(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    upstream.add("evil", demo)
    await index.ask(path_of(demo))
    await index.rows("UPDATE index_file SET project = 'evil'")
    assert (await index.ask(path_of(demo, "evil"))).status == 404
    assert demo.filename.encode() not in (await index.ask("/simple/evil/")).body


async def test_metadata_without_a_hash_is_not_offered(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    upstream.extra[demo.filename] = {"core-metadata": True}
    assert b"core-metadata" not in (await index.ask("/simple/demo/")).body
    assert (await index.ask(f"{path_of(demo)}.metadata")).status == 404


async def test_head_tells_size_without_fetching(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    reply = await index.ask(path_of(demo), "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["Content-Length"]) == len(demo.data)
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert upstream.asked[f"/packages/{demo.filename}"] == 0
    await index.ask(path_of(demo))
    stored = await index.ask(path_of(demo), "HEAD")
    assert int(stored.headers["Content-Length"]) == len(demo.data)


@pytest.mark.parametrize("stored", [True, False])
async def test_ranges(index: Index, big: Package, stored: bool) -> None:
    path, data = path_of(big, "big"), big.data
    if stored:
        await index.ask(path)
    part = await index.ask(path, Range="bytes=10-19")
    assert (part.status, part.body) == (206, data[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    assert (await index.ask(path, Range="bytes=-7")).body == data[-7:]
    assert (await index.ask(path, Range=f"bytes={len(data) - 3}-")).body == data[-3:]
    beyond = await index.ask(path, Range=f"bytes={len(data)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    assert beyond.headers["Content-Type"] == "application/problem+json"
    assert (await index.ask(path, Range="bytes=0-1,4-5")).status == 200
    assert (await index.ask(path, Range="bytes=0-4", If_Range=f'"{big.sha256}"')).status == 206
    assert (await index.ask(path, Range="bytes=0-4", If_Range='"another"')).body == data
    date = "Sun, 22 Nov 2026 00:00:00 GMT"
    assert (await index.ask(path, Range="bytes=0-4", If_Range=date)).status == 200


async def test_a_file_the_client_has_is_304(index: Index, upstream: UpstreamServer, demo: Package) -> None:
    reply = await index.ask(path_of(demo), If_None_Match=f'"{demo.sha256}"')
    assert (reply.status, reply.body) == (304, b"")
    assert upstream.asked[f"/packages/{demo.filename}"] == 0


@pytest.mark.parametrize("floor", [{"sdists": True}])
async def test_archives_are_never_unpacked_on_their_way(index: Index, upstream: UpstreamServer) -> None:
    sdist = Package("demo-1.0.tar.gz", b"\x1f\x8bnot really gzip")
    upstream.add("demo", sdist)
    reply = await index.ask(path_of(sdist), Accept_Encoding="gzip")
    assert reply.body == sdist.data
    assert "Content-Encoding" not in reply.headers
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert upstream.headers[f"/packages/{sdist.filename}"]["Accept-Encoding"] == "identity"
