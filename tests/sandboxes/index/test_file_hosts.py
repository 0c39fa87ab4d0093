"""An operator may say on which hosts files are: pages and redirects lead nowhere else, at no hop."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from sandboxes.index import reach
from sandboxes.index.config import source
from sandboxes.index.errors import UnusableError
from sandboxes.index.upstream import Upstream
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import make_wheel

WHEEL = make_wheel()
NOT_LISTED = "names a host that this index is not set to get files from"

type Make = Callable[..., Upstream]


@pytest.fixture
async def elsewhere(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UpstreamServer]:
    """Another host that has the same file, as if loopback were the open internet."""
    monkeypatch.setattr(reach, "is_public", lambda address: True)
    server = UpstreamServer()
    server.add("demo", WHEEL)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def made(upstream: UpstreamServer) -> AsyncIterator[Make]:
    upstream.add("demo", WHEEL)
    all_made: list[Upstream] = []

    def make(*hosts: str, origins: tuple[str, ...] = ()) -> Upstream:
        plain = source("INDEX_UPSTREAM", upstream.url)
        all_made.append(Upstream(replace(plain, file_hosts=hosts, file_origins=origins)))
        return all_made[-1]

    yield make
    for each in all_made:
        await each.close()


async def fetch(upstream: Upstream, url: str) -> bytes:
    async with upstream.file(url, WHEEL.filename) as download:
        return b"".join([chunk async for chunk in download.chunks])


def on_localhost(server: UpstreamServer) -> str:
    """The file's URL at a name, which the resolver is asked for."""
    return server.url.replace("127.0.0.1", "localhost").replace("/simple/", f"/packages/{WHEEL.filename}")


@pytest.mark.parametrize("hosts", [(), ("localhost",), ("files.example", "localhost")])
async def test_hosts_that_are_named_are_asked_and_all_are_when_none_is(
    made: Make, elsewhere: UpstreamServer, hosts: tuple[str, ...]
) -> None:
    assert await fetch(made(*hosts), on_localhost(elsewhere)) == WHEEL.data


async def test_another_host_is_never_asked_and_the_reason_says_why(
    made: Make, elsewhere: UpstreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UnusableError, match=NOT_LISTED) as caught:
        await fetch(made("files.example", "*.localhost"), on_localhost(elsewhere))
    assert "localhost" not in str(caught.value)
    assert "localhost, which is not in INDEX_FILE_HOSTS" in caplog.text
    assert not elsewhere.asked


async def test_a_redirect_is_judged_as_the_first_hop_is(
    made: Make, upstream: UpstreamServer, elsewhere: UpstreamServer
) -> None:
    upstream.faults[WHEEL.filename] = Fault(redirect=on_localhost(elsewhere))
    first = upstream.url.replace("/simple/", f"/packages/{WHEEL.filename}")
    assert await fetch(made("localhost"), first) == WHEEL.data
    elsewhere.asked.clear()
    with pytest.raises(UnusableError, match=NOT_LISTED):
        await fetch(made("files.example"), first)
    assert not elsewhere.asked


async def test_the_upstream_itself_and_named_origins_need_not_be_listed(
    made: Make, upstream: UpstreamServer, elsewhere: UpstreamServer
) -> None:
    own = upstream.url.replace("/simple/", f"/packages/{WHEEL.filename}")
    assert await fetch(made("files.example"), own) == WHEEL.data
    url = on_localhost(elsewhere)
    named = made("files.example", origins=(url.partition("/packages")[0],))
    assert await fetch(named, url) == WHEEL.data


async def test_a_host_that_is_listed_must_still_be_public(
    made: Make, elsewhere: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with pytest.raises(UnusableError, match="an address that is not allowed"):
        await fetch(made("localhost"), on_localhost(elsewhere))
    assert not elsewhere.asked
