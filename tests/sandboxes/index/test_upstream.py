"""The border to the upstream: where credentials go, and how long a dead host is waited for."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic, sleep

import aiohttp
import pytest
from yarl import URL

from sandboxes.index import outbound
from sandboxes.index import upstream as module
from sandboxes.index.config import Source, source
from sandboxes.index.errors import UpstreamError
from sandboxes.index.page import Page
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
    made = Upstream(source_of(upstream))
    yield made
    await made.close()


@pytest.fixture
async def with_elsewhere(upstream: UpstreamServer, elsewhere: UpstreamServer) -> AsyncIterator[Upstream]:
    """The upstream, whose operator says that its files may also be elsewhere."""
    upstream.add("demo", WHEEL)
    made = Upstream(replace(source_of(upstream), file_origins=(elsewhere.url.removesuffix("/simple/"),)))
    yield made
    await made.close()


def source_of(upstream: UpstreamServer) -> Source:
    return source("INDEX_UPSTREAM", upstream.url.replace("://", "://me:secret@"))


async def fetch(upstream: Upstream, url: str) -> bytes:
    async with upstream.file(url, WHEEL.filename) as download:
        return b"".join([chunk async for chunk in download.chunks])


def file_of(server: UpstreamServer) -> str:
    return server.url.replace("/simple/", f"/packages/{WHEEL.filename}")


async def test_credentials_go_to_the_upstreams_own_origin_only(
    with_elsewhere: Upstream, upstream: UpstreamServer, elsewhere: UpstreamServer
) -> None:
    asked, path = with_elsewhere, f"/packages/{WHEEL.filename}"
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
    monkeypatch.setattr(outbound, "_IDLE", 0.05)
    upstream.faults[WHEEL.filename] = Fault(drip=5)
    with pytest.raises(UpstreamError, match="did not answer in time"):
        await fetch(asked, file_of(upstream))


async def test_a_host_that_is_down_is_not_tried_by_everyone(
    asked: Upstream, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = file_of(upstream)
    await upstream.stop()
    start = monotonic()
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await fetch(asked, url)
    with pytest.raises(UpstreamError, match="a moment ago"):
        await asked.page("demo", "")
    assert monotonic() - start < 0.1
    monkeypatch.setattr(outbound, "monotonic", lambda: start + 6)
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


NOT_ALLOWED = "^The upstream index names an address that is not allowed.$"


async def test_a_page_cannot_lead_the_index_to_an_address_inside(
    asked: Upstream, elsewhere: UpstreamServer
) -> None:
    for url in (file_of(elsewhere), file_of(elsewhere).replace("127.0.0.1", "localhost")):
        with pytest.raises(UpstreamError, match=NOT_ALLOWED):
            await fetch(asked, url)
    assert not elsewhere.asked


async def test_nor_can_a_redirect(
    asked: Upstream, upstream: UpstreamServer, elsewhere: UpstreamServer
) -> None:
    for url in (file_of(elsewhere), file_of(elsewhere).replace("127.0.0.1", "localhost")):
        upstream.faults[WHEEL.filename] = Fault(redirect=url)
        with pytest.raises(UpstreamError, match=NOT_ALLOWED):
            await fetch(asked, file_of(upstream))
    assert not elsewhere.asked


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.1", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_nor_can_another_spelling(asked: Upstream, elsewhere: UpstreamServer, host: str) -> None:
    with pytest.raises(UpstreamError):
        await fetch(asked, file_of(elsewhere).replace("127.0.0.1", host))
    assert not elsewhere.asked


async def test_redirects_end(asked: Upstream, upstream: UpstreamServer) -> None:
    upstream.faults[WHEEL.filename] = Fault(redirect=file_of(upstream))
    with pytest.raises(UpstreamError, match="redirects more than 5 times"):
        await fetch(asked, file_of(upstream))
    assert upstream.asked[f"/packages/{WHEEL.filename}"] == 6


async def test_a_dead_file_host_silences_nobody_else(
    with_elsewhere: Upstream, upstream: UpstreamServer, elsewhere: UpstreamServer
) -> None:
    url = file_of(elsewhere)
    await elsewhere.stop()
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await fetch(with_elsewhere, url)
    with pytest.raises(UpstreamError, match="a moment ago"):
        await fetch(with_elsewhere, url)
    assert isinstance(await with_elsewhere.page("demo", ""), Fresh)
    assert await fetch(with_elsewhere, file_of(upstream)) == WHEEL.data


async def test_an_html_page_has_a_lower_limit(
    asked: Upstream, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST_HTML", 100)
    assert isinstance(await asked.page("demo", ""), Fresh)
    upstream.html = True
    with pytest.raises(UpstreamError, match="larger than"):
        await asked.page("demo", "")


async def test_whatever_a_parser_stumbles_over_is_the_upstreams_error(
    asked: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "parse_json", broken)
    with pytest.raises(UpstreamError, match="cannot be read"):
        await asked.page("demo", "")


async def test_large_pages_are_parsed_few_at_a_time(
    asked: Upstream, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def slow(project: str, *_: object) -> Page:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        sleep(0.05)
        with lock:
            running -= 1
        return Page(project, (), ())

    monkeypatch.setattr(module, "_PARSE_IN_PLACE", 0)
    monkeypatch.setattr(module, "parse_json", slow)
    await asyncio.gather(*(asked.page("demo", "") for _ in range(6)))
    assert most == 2


def test_a_redirect_never_leads_from_https_to_http() -> None:
    target = URL("https://index.example/a/b")
    assert outbound.following_of(target, 302, "../c?x=1") == URL("https://index.example/c?x=1")
    assert outbound.following_of(target, 200, "/c") is None
    for location in ("http://index.example/a", "ftp://index.example/a", "file:///etc/passwd"):
        with pytest.raises(UpstreamError, match="redirects"):
            outbound.following_of(target, 302, location)
