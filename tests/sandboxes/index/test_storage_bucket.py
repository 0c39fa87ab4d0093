"""INDEX_STORAGE: an S3-compatible bucket, a real server of one on loopback."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen

import aiohttp
import obstore
import pytest
from aiohttp import web
from obstore.store import S3Store
from yarl import URL

from sandboxes.index.app import make_app
from sandboxes.index.config import Config, source
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel
from tests.simulator import free_port

STORAGE = "s3://dishes/wheels"

type Open = Callable[..., Awaitable[Index]]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    port = free_port()
    process = Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
async def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket's URL; the environment says how to reach it."""
    for name, value in (
        ("AWS_ENDPOINT_URL", server),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    async with aiohttp.ClientSession() as session:
        await until(lambda: _answers(session, server))
        async with session.post(f"{server}/moto-api/reset"), session.put(f"{server}/dishes") as made:
            assert made.status == 200
    return f"{server}/dishes"


async def _answers(session: aiohttp.ClientSession, server: str) -> bool:
    try:
        async with session.get(f"{server}/moto-api/"):
            pass
    except aiohttp.ClientConnectionError:
        return False
    return True


@pytest.fixture
async def opened(index: Index, upstream: UpstreamServer, bucket: str, tmp_path: Path) -> AsyncIterator[Open]:
    """Indexes with that bucket, each with a folder of its own, as on several hosts."""
    runners: list[web.AppRunner] = []

    async def make(redirect: bool = False) -> Index:
        folder = tmp_path / f"host-{len(runners)}"
        config = Config(
            database_url(),
            "127.0.0.1",
            0,
            folder,
            (source("INDEX_UPSTREAM", upstream.url),),
            storage=STORAGE,
            storage_redirect=redirect,
        )
        runner = web.AppRunner(await make_app(config), access_log=None, shutdown_timeout=0.2)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return Index(f"http://127.0.0.1:{runner.addresses[0][1]}", index.session, index.database, folder)

    yield make
    for runner in runners:
        await runner.cleanup()


async def objects(bucket: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{bucket}?list-type=2") as answer:
        return await answer.text()


async def until_in(bucket: str, package: Package) -> None:
    key = f"<Key>wheels/{package.sha256[:2]}/{package.sha256[2:4]}/{package.sha256}<"

    async def there() -> bool:
        return key in await objects(bucket)

    await until(there)


async def test_a_file_goes_to_the_bucket_once_verified_and_comes_from_there(
    opened: Open, bucket: str, upstream: UpstreamServer, big: Package
) -> None:
    here = await opened()
    assert (await here.ask(path_of(big, "big"))).body == big.data
    await until_in(bucket, big)
    await until(lambda: not here.drafts)
    elsewhere = await opened()
    reply = await elsewhere.ask(path_of(big, "big"))
    assert (reply.status, reply.body, reply.headers["ETag"]) == (200, big.data, f'"{big.sha256}"')
    assert upstream.asked[f"/packages/{big.filename}"] == 1


async def test_parts_conditions_and_sizes(opened: Open, bucket: str, big: Package) -> None:
    here, path, size = await opened(), path_of(big, "big"), len(big.data)
    await here.ask(path)
    await until_in(bucket, big)
    for asked, span in (("10-19", (10, 20)), ("-7", (size - 7, size)), (f"{size - 3}-", (size - 3, size))):
        part = await here.ask(path, Range=f"bytes={asked}")
        assert (part.status, part.body) == (206, big.data[slice(*span)])
        assert part.headers["Content-Range"] == f"bytes {span[0]}-{span[1] - 1}/{size}"
    assert (await here.ask(path, Range=f"bytes={size}-")).status == 416
    assert (await here.ask(path, Range="bytes=0-4", If_Range='"another"')).body == big.data
    assert (await here.ask(path, If_None_Match=f'"{big.sha256}"')).status == 304
    head = await here.ask(path, "HEAD")
    assert (head.status, int(head.headers["Content-Length"])) == (200, size)


async def test_large_files_go_there_in_parts(opened: Open, bucket: str, upstream: UpstreamServer) -> None:
    huge = make_wheel("huge", padding=bytes(range(256)) * 80_000)
    upstream.add("huge", huge)
    here = await opened()
    assert (await here.ask(path_of(huge, "huge"))).body == huge.data
    await until_in(bucket, huge)
    assert (await here.ask(path_of(huge, "huge"))).body == huge.data


async def test_metadata_is_read_from_there(opened: Open, bucket: str, demo: Package) -> None:
    here = await opened()
    for _ in range(2):
        assert (await here.ask(f"{path_of(demo)}.metadata")).body == demo.metadata
    assert demo.metadata_sha256 in await objects(bucket)


async def test_a_bad_file_never_gets_there(
    opened: Open, bucket: str, upstream: UpstreamServer, big: Package
) -> None:
    here = await opened()
    upstream.faults[big.filename] = Fault(data=big.data[:-1] + b"!")
    with suppress(aiohttp.ClientError):  # cut: part of the answer had left when it was found out
        assert (await here.ask(path_of(big, "big"))).status == 424
    assert "<Key>" not in await objects(bucket)


async def test_hosts_with_one_bucket_fetch_once(opened: Open, upstream: UpstreamServer, big: Package) -> None:
    """The second sees no draft, so its clients wait until the file is in the bucket."""
    upstream.faults[big.filename] = Fault(drip=0.01)
    hosts = [await opened(), await opened()]
    replies = await asyncio.gather(*(hosts[n % 2].ask(path_of(big, "big")) for n in range(10)))
    assert [reply.body for reply in replies] == [big.data] * 10
    assert upstream.asked[f"/packages/{big.filename}"] == 1


async def test_a_link_leads_to_the_bucket_for_a_while(opened: Open, bucket: str, big: Package) -> None:
    here = await opened(redirect=True)
    assert (await here.ask(path_of(big, "big"))).body == big.data
    await until_in(bucket, big)
    reply = await here.ask(path_of(big, "big"))
    assert (reply.status, reply.headers["Cache-Control"]) == (302, "no-store")
    assert reply.headers["Location"].startswith(f"{bucket}/wheels/")
    assert "X-Amz-Expires=60" in reply.headers["Location"]
    async with here.session.get(URL(reply.headers["Location"], encoded=True)) as answer:
        assert await answer.read() == big.data
    assert (await here.ask(path_of(big, "big"), "HEAD")).status == 200
    recorded = await here.rows("SELECT count(*) AS times FROM usage_fetch WHERE kind = 'file'")
    assert recorded[0]["times"] == 3


async def test_what_a_lifecycle_rule_took_is_fetched_again(
    opened: Open, bucket: str, upstream: UpstreamServer, big: Package
) -> None:
    """Though it was there a moment ago, and is taken to be there still."""
    here, path = await opened(), path_of(big, "big")
    await here.ask(path)
    await until_in(bucket, big)
    await until(lambda: not here.drafts)
    s3 = S3Store("dishes", client_options={"allow_http": True})
    for headers, body in (({"Range": "bytes=0-9"}, big.data[:10]), ({}, big.data)):
        name = f"{big.sha256[:2]}/{big.sha256[2:4]}/{big.sha256}"
        await obstore.delete_async(s3, f"wheels/{name}")
        assert (await here.ask(path, **headers)).body == body
        await until_in(bucket, big)
    assert upstream.asked[f"/packages/{big.filename}"] == 3


async def test_a_bucket_that_is_gone_is_said(opened: Open, bucket: str, big: Package) -> None:
    """A client of a file that is just fetched has it all the same; nobody takes a part for the whole."""
    here = await opened()
    async with aiohttp.ClientSession() as session:
        await session.delete(bucket)
    reply = await here.ask(path_of(big, "big"))
    assert (reply.status, reply.body) == (200, big.data)
    monkey = pytest.MonkeyPatch()
    monkey.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    unreachable = await opened()
    monkey.undo()
    reply = await unreachable.ask(path_of(big, "big"))
    assert (reply.status, reply.reason) == (503, "The index's storage does not answer; try again.")
