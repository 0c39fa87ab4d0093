"""The border to the upstream: where credentials go, and how long a dead host is waited for."""

from collections.abc import AsyncIterator
from time import monotonic

import aiohttp
import pytest

from sandboxes.index import upstream as module
from sandboxes.index.config import source
from sandboxes.index.errors import UpstreamError
from sandboxes.index.upstream import Fresh, Upstream
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import make_wheel

WHEEL = make_wheel()


@pytest.fixture
async def elsewhere() -> AsyncIterator[UpstreamServer]:
    """Another origin that has the same file."""
    server = UpstreamServer()
    server.add("demo", WHEEL)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def asked(upstream: UpstreamServer) -> AsyncIterator[Upstream]:
    """The upstream, asked with credentials."""
    upstream.add("demo", WHEEL)
    with_credentials = upstream.url.replace("://", "://me:secret@")
    async with aiohttp.ClientSession() as session:
        yield Upstream(source("INDEX_UPSTREAM", with_credentials), session)


async def fetch(upstream: Upstream, url: str) -> bytes:
    async with upstream.file(url, WHEEL.filename) as download:
        return b"".join([chunk async for chunk in download.chunks])


def file_of(server: UpstreamServer) -> str:
    return server.url.replace("/simple/", f"/packages/{WHEEL.filename}")


async def test_credentials_go_to_the_upstreams_own_origin_only(
    asked: Upstream, upstream: UpstreamServer, elsewhere: UpstreamServer
) -> None:
    path = f"/packages/{WHEEL.filename}"
    assert isinstance(await asked.page("demo", ""), Fresh)
    assert await fetch(asked, file_of(upstream)) == WHEEL.data
    for seen in ("/simple/demo/", path):
        assert upstream.headers[seen]["Authorization"] == aiohttp.encode_basic_auth("me", "secret")
    assert await fetch(asked, file_of(elsewhere)) == WHEEL.data
    assert "Authorization" not in elsewhere.headers.pop(path)
    upstream.faults[WHEEL.filename] = Fault(redirect=file_of(elsewhere))
    assert await fetch(asked, file_of(upstream)) == WHEEL.data
    assert "Authorization" not in elsewhere.headers[path]


async def test_errors_name_the_host_and_no_more(asked: Upstream, upstream: UpstreamServer) -> None:
    upstream.page_status = 500
    with pytest.raises(UpstreamError) as caught:
        await asked.page("demo", "")
    assert str(caught.value) == "The upstream index (127.0.0.1) answered 500 for the page of demo."


async def test_a_silent_upstream_is_given_up(
    asked: Upstream, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE", 0.05)
    upstream.faults[WHEEL.filename] = Fault(drip=5)
    with pytest.raises(UpstreamError, match="did not answer in time"):
        await fetch(asked, file_of(upstream))


async def test_a_host_that_is_down_is_not_tried_by_everyone(
    asked: Upstream, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = file_of(upstream)
    await upstream.stop()
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await fetch(asked, url)
    start = monotonic()
    with pytest.raises(UpstreamError, match="a moment ago"):
        await asked.page("demo", "")
    assert monotonic() - start < 0.1
    monkeypatch.setattr(asked, "_silent_until", 0.0)
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await asked.page("demo", "")


async def test_a_page_beyond_all_measure_is_refused(
    asked: Upstream, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST_PAGE", 100)
    with pytest.raises(UpstreamError, match="larger than"):
        await asked.page("demo", "")


async def test_a_page_that_is_neither_json_nor_html_is_refused(
    asked: Upstream, upstream: UpstreamServer
) -> None:
    upstream.content_type = "application/json"
    with pytest.raises(UpstreamError, match="neither JSON nor HTML"):
        await asked.page("demo", "")
