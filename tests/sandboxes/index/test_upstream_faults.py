"""What an upstream is asked for again, and every fault that its answers can have."""

import asyncio
import json
import random
import zlib
from contextlib import suppress

import pytest

from sandboxes.index import outbound
from sandboxes.index import upstream as module
from sandboxes.index.breaker import FAILURES
from sandboxes.index.errors import UpstreamError
from sandboxes.index.upstream import Fresh, Upstream
from tests.sandboxes.index.asking import WHEEL, asked, fetch, file_of
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer

__all__ = ["asked"]  # a fixture


async def test_errors_name_the_host_and_no_more(asked: Upstream, upstream: UpstreamServer) -> None:
    upstream.page_status = 500
    with pytest.raises(UpstreamError) as caught:
        await asked.page("demo", "")
    assert str(caught.value) == "The upstream index (127.0.0.1) answered 500 for the page of demo."


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
