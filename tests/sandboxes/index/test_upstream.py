"""The border to the upstream: where credentials go, which addresses are asked, and what is waited for."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from time import sleep

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from sandboxes.index import outbound
from sandboxes.index import upstream as module
from sandboxes.index.config import source
from sandboxes.index.errors import UpstreamError
from sandboxes.index.outbound import Patience
from sandboxes.index.page import Page
from sandboxes.index.upstream import Fresh, Upstream
from tests.sandboxes.index.asking import WHEEL, asked, fetch, file_of, source_of
from tests.sandboxes.index.certificates import authority
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package

__all__ = ["asked"]  # a fixture


@pytest.fixture
async def elsewhere() -> AsyncIterator[UpstreamServer]:
    """Another origin that has the same file."""
    server = UpstreamServer()
    server.add("demo", WHEEL)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def with_elsewhere(upstream: UpstreamServer, elsewhere: UpstreamServer) -> AsyncIterator[Upstream]:
    """The upstream, whose operator says that its files may also be elsewhere."""
    upstream.add("demo", WHEEL)
    made = Upstream(replace(source_of(upstream), file_origins=(elsewhere.url.removesuffix("/simple/"),)))
    yield made
    await made.close()


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


async def test_a_redirect_from_elsewhere_brings_no_credentials_back(
    with_elsewhere: Upstream, upstream: UpstreamServer, elsewhere: UpstreamServer
) -> None:
    """Elsewhere says where it ends: what the credentials open there is not for it to choose."""
    elsewhere.faults[WHEEL.filename] = Fault(redirect=file_of(upstream))
    assert await fetch(with_elsewhere, file_of(elsewhere)) == WHEEL.data
    upstream.projects["other"] = [Package("other-1.0-py3-none-any.whl", WHEEL.data)]
    upstream.faults["other-1.0-py3-none-any.whl"] = Fault(redirect=file_of(elsewhere))
    there_and_back = file_of(upstream).replace(WHEEL.filename, "other-1.0-py3-none-any.whl")
    assert await fetch(with_elsewhere, there_and_back) == WHEEL.data
    assert upstream.headers["/packages/other-1.0-py3-none-any.whl"]["Authorization"]
    assert "Authorization" not in upstream.headers[f"/packages/{WHEEL.filename}"]


@pytest.fixture
async def shared_host() -> AsyncIterator[tuple[str, dict[str, str]]]:
    """A host that carries more than one index: its URL, and the credentials that each path was asked with."""
    shown: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        shown[request.raw_path] = request.headers.get("Authorization", "")
        return web.Response(body=WHEEL.data)

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", shown
    await runner.cleanup()


INDEXES = [
    ("/user/index/+simple/", "/user/index/+f/ab/demo.whl", "/other/index/+f/ab/demo.whl"),
    ("/artifactory/api/pypi/repo/simple/", "/artifactory/api/pypi/repo/packages/x", "/artifactory/api/users"),
    ("/repository/pypi/simple/", "/repository/pypi/packages/demo/x", "/repository/pypi-secret/x"),
    ("/pypi/account/", "/pypi/account/-/x", "/pypi/"),
]


@pytest.mark.parametrize(("index", "inside", "outside"), INDEXES)
async def test_credentials_go_to_the_indexs_own_directory_only(
    shared_host: tuple[str, dict[str, str]], index: str, inside: str, outside: str
) -> None:
    host, shown = shared_host
    base = inside.rsplit("/", 2)[0]
    leading_out = [
        f"{base}/../../secret",
        f"{base}/..%2F..%2Fsecret",
        f"{base}/%2e%2e/%2e%2e/secret",
        f"{base}/%252e%252e/secret",
        f"{base}/..;a=b/secret",
        f"{base}/..%5csecret",
    ]
    made = Upstream(source("INDEX_UPSTREAM", f"{host}{index}".replace("://", "://me:secret@")))
    for path in (inside, outside, *leading_out):
        assert await fetch(made, f"{host}{path}") == WHEEL.data
    await made.close()
    assert shown.pop(inside) == aiohttp.encode_basic_auth("me", "secret")
    assert len(shown) == 7
    assert set(shown.values()) == {""}


async def test_an_operator_can_name_further_directories_of_the_same_host(
    shared_host: tuple[str, dict[str, str]],
) -> None:
    """As where an index inherits files from another one on its host."""
    host, shown = shared_host
    made = Upstream(
        replace(
            source("INDEX_UPSTREAM", f"{host}/user/index/+simple/".replace("://", "://me:secret@")),
            file_origins=(f"{host}/team/mirror/+f",),
        )
    )
    for path in ("/team/mirror/+f/ab/x", "/team/mirror/+files", "/team/mirror/+f/../x"):
        assert await fetch(made, f"{host}{path}") == WHEEL.data
    await made.close()
    assert [path for path, authorization in shown.items() if authorization] == ["/team/mirror/+f/ab/x"]


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
    monkeypatch.setattr(outbound, "_BACKOFF", 0.0)
    url = file_of(upstream)
    await upstream.stop()
    for _ in range(3):
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await fetch(asked, url)
    with pytest.raises(UpstreamError, match="left alone"):
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
    with_elsewhere: Upstream,
    upstream: UpstreamServer,
    elsewhere: UpstreamServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbound, "_BACKOFF", 0.0)
    url = file_of(elsewhere)
    await elsewhere.stop()
    for _ in range(3):
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await fetch(with_elsewhere, url)
    with pytest.raises(UpstreamError, match="left alone"):
        await fetch(with_elsewhere, url)
    assert isinstance(await with_elsewhere.page("demo", ""), Fresh)
    assert await fetch(with_elsewhere, file_of(upstream)) == WHEEL.data


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


async def test_an_answer_that_does_not_begin_is_given_up_before_the_client_gives_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # takes connections, and never reads
        silent = Upstream(source("INDEX_UPSTREAM", f"http://127.0.0.1:{hanging.getsockname()[1]}/simple/"))
        with pytest.raises(UpstreamError, match="in time"):
            await silent.page("demo", "", Patience.of(60.0, 0.1))
        await silent.close()


async def test_tls_is_verified_and_a_companys_own_authority_can_be_named(tmp_path: Path) -> None:
    path, tls = authority(tmp_path)
    server = UpstreamServer()
    server.add("demo", WHEEL)
    await server.start(tls)
    strict = Upstream(source("INDEX_UPSTREAM", server.url))
    with pytest.raises(UpstreamError, match="certificate that is not trusted"):
        await strict.page("demo", "")
    assert not server.asked
    trusting = Upstream(replace(source("INDEX_UPSTREAM", server.url), authorities=path))
    assert isinstance(await trusting.page("demo", ""), Fresh)
    await strict.close()
    await trusting.close()
    await server.stop()
