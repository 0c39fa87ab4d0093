"""Files on their way through the index, over HTTP: streaming, verification, one upstream fetch for all."""

import asyncio
import hashlib
import json
from collections.abc import Callable

import aiohttp
import pytest

from sandboxes.index.flight import HELD_BACK
from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.patience import read_until_cut, until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package


async def until_stored(index: Index, *packages: Package) -> None:
    """A client may have all of a file, verified, a moment before it is on the disk for good."""
    names = sorted(package.sha256 for package in packages)
    await until(lambda: index.stored == names and not index.drafts)


async def test_fetched_once_then_served_from_the_store(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    for _ in range(2):
        reply = await index.ask(path_of(big, "big"))
        assert (reply.status, reply.body) == (200, big.data)
        assert reply.headers["Content-Type"] == "application/octet-stream"
        assert reply.headers["ETag"] == f'"{big.sha256}"'
        assert int(reply.headers["Content-Length"]) == len(big.data)
    assert upstream.asked[f"/packages/{big.filename}"] == 1
    await until_stored(index, big)


async def test_stampede_is_one_upstream_fetch(index: Index, upstream: UpstreamServer, big: Package) -> None:
    upstream.faults[big.filename] = Fault(drip=0.005)
    replies = await asyncio.gather(*(index.ask(path_of(big, "big")) for _ in range(20)))
    assert {hashlib.sha256(reply.body).hexdigest() for reply in replies} == {big.sha256}
    assert upstream.asked == {"/simple/big/": 1, f"/packages/{big.filename}": 1}


async def test_first_bytes_leave_while_the_rest_arrives(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    upstream.faults[big.filename] = Fault(drip=0.01)
    url, auth = index.url + path_of(big, "big"), {"Authorization": index.auth}
    async with index.session.get(url, headers=auth) as answer:
        assert await answer.content.readexactly(1000) == big.data[:1000]
        assert index.stored == []
        assert await answer.content.read() == big.data[1000:]
    await until_stored(index, big)


async def test_who_joins_late_has_what_is_there_at_once(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    """It arrives in two halves; the second comes only when the late one has the first."""
    go_on = asyncio.Event()
    upstream.faults[big.filename] = Fault(pause_at=600_000, go_on=go_on)
    url, auth = index.url + path_of(big, "big"), {"Authorization": index.auth}
    async with index.session.get(url, headers=auth) as first, index.session.get(url, headers=auth) as late:
        for answer in (first, late):
            assert await answer.content.readexactly(600_000 - HELD_BACK) == big.data[: 600_000 - HELD_BACK]
        go_on.set()
        for answer in (first, late):
            assert await answer.content.read() == big.data[600_000 - HELD_BACK :]
    assert upstream.asked[f"/packages/{big.filename}"] == 1


async def test_parts_of_a_file_that_still_arrives(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    """None of it leaves before all of it was verified: a part is complete by itself."""
    go_on, path, size = asyncio.Event(), path_of(big, "big"), len(big.data)
    upstream.faults[big.filename] = Fault(pause_at=600_000, go_on=go_on)
    whole = asyncio.create_task(index.ask(path))
    parts = [
        asyncio.create_task(index.ask(path, Range=part))
        for part in ("bytes=0-9", "bytes=-5", f"bytes={size}-")
    ]
    other = asyncio.create_task(index.ask(path, Range="bytes=0-9", If_Range='"another"'))
    assert (await index.ask(path, "HEAD")).headers["Content-Length"] == str(size)
    assert (await index.ask(path, If_None_Match=f'"{big.sha256}"')).status == 304
    assert not (await asyncio.wait(parts, timeout=0.3))[0]
    go_on.set()
    assert [(part.status, part.body) for part in await asyncio.gather(*parts[:2])] == [
        (206, big.data[:10]),
        (206, big.data[-5:]),
    ]
    assert (await parts[2]).status == 416
    assert (await other).body == (await whole).body == big.data
    assert upstream.asked[f"/packages/{big.filename}"] == 1


async def test_no_part_of_a_file_that_fails_verification(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    upstream.faults[big.filename] = Fault(data=big.data[:-1] + b"!")
    reply = await index.ask(path_of(big, "big"), Range="bytes=0-9")
    assert (reply.status, "another sha256" in reply.reason) == (424, True)


async def test_the_end_of_a_bad_file_reaches_nobody(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    """Followers from the start and late ones: each has less than the whole, and sees the cut."""
    go_on = asyncio.Event()
    upstream.faults[big.filename] = Fault(data=big.data[:-1] + b"!", pause_at=600_000, go_on=go_on)
    url, auth = index.url + path_of(big, "big"), {"Authorization": index.auth}
    answers = [await index.session.get(url, headers=auth) for _ in range(5)]
    go_on.set()
    for answer in answers:
        assert await read_until_cut(answer) <= len(big.data) - HELD_BACK
        answer.close()
    assert index.stored == []


async def test_a_client_that_hangs_up_ends_only_itself(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    upstream.faults[big.filename] = Fault(drip=0.005)
    url, auth = index.url + path_of(big, "big"), {"Authorization": index.auth}
    answer = await index.session.get(url, headers=auth)
    await answer.content.readexactly(1000)
    answer.close()
    assert (await index.ask(path_of(big, "big"))).body == big.data
    assert upstream.asked[f"/packages/{big.filename}"] == 1


CUT = [
    pytest.param(lambda data: Fault(drip=0.002, cut_at=len(data) - 10), id="cut before the end"),
    pytest.param(lambda data: Fault(drip=0.002, cut_at=600_000), id="cut in the middle"),
    pytest.param(lambda data: Fault(drip=0.002, data=data[:-1] + b"!"), id="wrong hash"),
    pytest.param(
        lambda data: Fault(drip=0.002, data=data[:-1] + b"!", chunked=True), id="wrong hash, no length"
    ),
    pytest.param(lambda data: Fault(drip=0.002, data=data + b"!", chunked=True), id="too long, no length"),
]


@pytest.mark.parametrize("fault", CUT)
async def test_a_file_that_fails_verification_is_cut_and_not_stored(
    index: Index, upstream: UpstreamServer, big: Package, fault: Callable[[bytes], Fault]
) -> None:
    upstream.faults[big.filename] = fault(big.data)
    with pytest.raises(aiohttp.ClientError):
        await index.ask(path_of(big, "big"))
    await until_stored(index)
    del upstream.faults[big.filename]
    assert (await index.ask(path_of(big, "big"))).body == big.data


BAD = [
    (Fault(status=500), 502, "answered 500"),
    (Fault(status=503), 502, "answered 503"),
    (Fault(status=408), 502, "answered 408"),
    (Fault(status=429), 502, "answered 429"),
    (Fault(status=403), 424, "answered 403"),
    (Fault(status=404), 404, "no longer has demo-1.0"),
    (Fault(data=b"short"), 424, "has 5 bytes upstream"),
    (Fault(cut_at=100), 502, "broke off"),
    (Fault(redirect="ftp://127.0.0.1/x"), 424, "nonsense"),
    (Fault(redirect="http://127.0.0.1:9/x"), 424, "names an address that is not allowed"),
]


@pytest.mark.parametrize(("fault", "status", "reason"), BAD)
async def test_a_small_bad_file_is_a_readable_refusal(
    index: Index, upstream: UpstreamServer, demo: Package, fault: Fault, status: int, reason: str
) -> None:
    upstream.faults[demo.filename] = fault
    reply = await index.ask(path_of(demo))
    assert reply.status == status
    assert reason in reply.reason
    assert json.loads(reply.body)["detail"] == reply.reason
    assert index.stored == []
    assert await index.rows("SELECT 1 FROM usage_install") == []


@pytest.mark.parametrize("there", [True, False])
async def test_an_address_inside_is_not_asked_and_nothing_of_it_is_told(
    index: Index, upstream: UpstreamServer, demo: Package, there: bool
) -> None:
    """Whether something answers there or not: the sandbox hears the same."""
    inside = UpstreamServer()
    await inside.start()
    url = inside.url.replace("/simple/", f"/packages/{demo.filename}")
    if not there:
        await inside.stop()
    upstream.extra[demo.filename] = {"url": url}
    reply = await index.ask(path_of(demo))
    assert (reply.status, reply.reason) == (424, "The upstream index names an address that is not allowed.")
    assert not inside.asked
    await inside.stop()


async def test_redirects_to_http_are_followed(index: Index, upstream: UpstreamServer, demo: Package) -> None:
    target = upstream.url.replace("/simple/", f"/packages/{demo.filename}?signed=1")
    upstream.projects["other"] = [Package("other-1.0-py3-none-any.whl", demo.data)]
    upstream.faults["other-1.0-py3-none-any.whl"] = Fault(redirect=target)
    reply = await index.ask(path_of(upstream.projects["other"][0], "other"))
    assert (reply.status, reply.body) == (200, demo.data)
