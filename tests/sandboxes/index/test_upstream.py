"""The border to the upstream: where credentials go, what is tried again, and every fault an upstream can have."""

import asyncio
import json
import random
import socket
import threading
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import sleep

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from sandboxes.index import outbound
from sandboxes.index import upstream as module
from sandboxes.index.breaker import FAILURES
from sandboxes.index.config import Source, source
from sandboxes.index.errors import UpstreamError
from sandboxes.index.outbound import Patience
from sandboxes.index.page import Page
from sandboxes.index.upstream import Fresh, Upstream
from tests.sandboxes.index.certificates import authority
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

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
    monkeypatch.setattr(outbound, "_BACKOFF", 0.0)
    url = file_of(upstream)
    await upstream.stop()
    for _ in range(3):
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await fetch(asked, url)
    with pytest.raises(UpstreamError, match="left alone"):
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


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again without a pause."""
    monkeypatch.setattr(outbound, "_BACKOFF", 0.0)


PAGE = "/simple/demo/"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_upstream_is_asked_again(
    asked: Upstream, upstream: UpstreamServer, at_once: None, status: int
) -> None:
    upstream.page_faults["demo"] = Fault(status=status, times=2)
    assert isinstance(await asked.page("demo", ""), Fresh)
    assert upstream.asked[PAGE] == 3


async def test_but_not_for_ever(asked: Upstream, upstream: UpstreamServer, at_once: None) -> None:
    upstream.page_faults["demo"] = Fault(status=503)
    with pytest.raises(UpstreamError, match="answered 503"):
        await asked.page("demo", "")
    assert upstream.asked[PAGE] == 3


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_an_answer_that_will_stay_the_same_is_not_asked_for_again(
    asked: Upstream, upstream: UpstreamServer, at_once: None, status: int
) -> None:
    upstream.page_faults["demo"] = Fault(status=status)
    with pytest.raises(UpstreamError, match=f"answered {status}"):
        await asked.page("demo", "")
    assert upstream.asked[PAGE] == 1


@pytest.mark.parametrize("retry_after", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_an_upstream_that_wants_to_be_left_alone_for_long_is_not_asked_again_by_itself(
    asked: Upstream, upstream: UpstreamServer, at_once: None, retry_after: str
) -> None:
    """And what it says of one page, however often, does not end everybody else's; what it says of several does."""
    busy = Fault(status=429, headers={"Retry-After": retry_after})
    for project in ("demo", "second", "third"):
        upstream.page_faults[project] = busy
    for times in range(1, FAILURES + 2):
        with pytest.raises(UpstreamError, match="answered 429"):
            await asked.page("demo", "")
        assert upstream.asked[PAGE] == times
    assert await fetch(asked, file_of(upstream)) == WHEEL.data
    for project in ("demo", "second", "third"):
        with pytest.raises(UpstreamError, match="answered 429"):
            await asked.page(project, "")
    with pytest.raises(UpstreamError, match="left alone"):
        await fetch(asked, file_of(upstream))


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in seconds; none of them is really waited for."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    return found


async def test_a_short_retry_after_is_waited_for(
    asked: Upstream, upstream: UpstreamServer, at_once: None, waited: list[float]
) -> None:
    upstream.page_faults["demo"] = Fault(status=429, times=1, headers={"Retry-After": "4"})
    assert isinstance(await asked.page("demo", ""), Fresh)
    assert waited.count(4.0) == 1


async def test_pauses_between_tries_are_of_random_length(
    asked: Upstream, upstream: UpstreamServer, waited: list[float]
) -> None:
    """Many who failed at one moment must not come back at one moment."""
    for _ in range(10):
        upstream.page_faults["demo"] = Fault(status=503, times=2)
        assert isinstance(await asked.page("demo", ""), Fresh)
    assert len(set(waited)) == len(waited) == 20
    assert all(0.0 < wait <= 0.4 for wait in waited[::2])
    assert all(0.0 < wait <= 0.8 for wait in waited[1::2])


async def test_pauses_between_tries_may_be_twice_as_long_each_time(
    asked: Upstream, upstream: UpstreamServer, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def longest(shortest: float, most: float) -> float:
        drawn.append(shortest)
        return most

    monkeypatch.setattr(random, "uniform", longest)
    upstream.page_faults["demo"] = Fault(status=503, times=2)
    assert isinstance(await asked.page("demo", ""), Fresh)
    assert waited == [0.4, 0.8]
    assert set(drawn) == {0}


@pytest.mark.parametrize("text", ["soon", "", "-1", "Fri, 31 Dec 1999 23:59:59 GMT", "9" * 400, "\u0661"])
async def test_an_unreadable_retry_after_means_none(
    asked: Upstream, upstream: UpstreamServer, at_once: None, text: str
) -> None:
    upstream.page_faults["demo"] = Fault(status=500, headers={"Retry-After": text})
    with pytest.raises(UpstreamError, match="answered 500"):
        await asked.page("demo", "")


async def test_a_page_that_breaks_off_is_asked_for_once_more(
    asked: Upstream, upstream: UpstreamServer
) -> None:
    upstream.page_faults["demo"] = Fault(cut_at=10, times=1)
    assert isinstance(await asked.page("demo", ""), Fresh)
    assert upstream.asked[PAGE] == 2


JSON_PAGE = json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": []}).encode()
BOMB = zlib.compress(b" " * (65 * 1024 * 1024), 9, wbits=31)  # gzip: some 64 kB


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(Fault(cut_at=0), "broke off", id="cut before the first byte"),
        pytest.param(Fault(cut_at=50), "broke off", id="cut in the middle"),
        pytest.param(
            Fault(headers={"Content-Length": "99999"}, cut_at=20), "broke off", id="too long a length"
        ),
        pytest.param(Fault(data=JSON_PAGE[:-3]), "is not JSON", id="half a document"),
        pytest.param(Fault(data=b"<html></html>"), "is not JSON", id="HTML that says it is JSON"),
        pytest.param(Fault(data=b"[]"), "lists no files", id="another document"),
        pytest.param(
            Fault(headers={"Content-Type": "text/plain"}), "neither JSON nor HTML", id="another type"
        ),
        pytest.param(
            Fault(headers={"Content-Encoding": "gzip"}), "broke off, or answered", id="no gzip at all"
        ),
        pytest.param(
            Fault(data=BOMB, headers={"Content-Encoding": "gzip"}), "larger than 64", id="a gzip bomb"
        ),
        pytest.param(Fault(drip=5.0), "in time", id="a drip"),
        pytest.param(Fault(redirect="/simple/demo/"), "redirects more than 5 times", id="a loop"),
        pytest.param(Fault(redirect="http://169.254.169.254/"), "address that is not allowed", id="inside"),
        pytest.param(Fault(redirect="file:///etc/passwd"), "redirects to nonsense", id="no http"),
    ],
)
async def test_a_faulty_page_is_an_error_that_says_what_was_wrong(
    asked: Upstream,
    upstream: UpstreamServer,
    at_once: None,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    said: str,
) -> None:
    monkeypatch.setattr(outbound, "_IDLE", 0.2)
    upstream.page_faults["demo"] = fault
    with pytest.raises(UpstreamError, match=said):
        await asked.page("demo", "")


async def test_html_where_json_was_asked_for_is_read_as_what_it_is(
    asked: Upstream, upstream: UpstreamServer
) -> None:
    upstream.html = True
    answer = await asked.page("demo", "")
    assert isinstance(answer, Fresh)
    assert [file.sha256 for file in answer.page.files] == [WHEEL.sha256]


async def test_more_bytes_than_the_length_says_are_not_taken(
    asked: Upstream, upstream: UpstreamServer
) -> None:
    """What follows the stated length is not part of the answer (RFC 9112, 6.3), and of no later one."""
    upstream.page_faults["demo"] = Fault(
        data=JSON_PAGE + b"HTTP/1.1 200 OK\r\n", headers={"Content-Length": str(len(JSON_PAGE))}, times=1
    )
    with suppress(UpstreamError):
        await asked.page("demo", "")
    answer = await asked.page("demo", "")
    assert isinstance(answer, Fresh)
    assert len(answer.page.files) == 1


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
