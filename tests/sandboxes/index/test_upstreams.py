"""Several upstreams: who is asked for what, who is never asked, and when an upstream is left alone."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index import outbound
from sandboxes.index.app import make_app
from sandboxes.index.breaker import FAILURES, LONGEST_PAUSE, PAUSE, Breaker
from sandboxes.index.config import Config, Source, source
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.patterns import parse
from sandboxes.index.upstream import Fresh, Missing, NotModified
from sandboxes.index.upstreams import Upstreams
from tests.sandboxes.index.conftest import Index, Reply, database_url
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import make_wheel

JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
async def ours() -> AsyncIterator[UpstreamServer]:
    """The company's own index: it wants credentials."""
    server = UpstreamServer(authorization=aiohttp.encode_basic_auth("me", "secret"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def mirror() -> AsyncIterator[UpstreamServer]:
    server = UpstreamServer()
    await server.start()
    yield server
    await server.stop()


def sources_of(ours: UpstreamServer, mirror: UpstreamServer, upstream: UpstreamServer) -> tuple[Source, ...]:
    patterns = tuple(parse(text, Ecosystem.PYPI) for text in ("acme-*", "corp-utils"))
    private = source("INDEX_UPSTREAMS", ours.url.replace("://", "://me:secret@"))
    return (
        replace(private, name="ours", names=patterns),
        replace(source("INDEX_UPSTREAMS", mirror.url), name="mirror"),
        source("INDEX_UPSTREAM", upstream.url),
    )


@pytest.fixture
async def asked(
    ours: UpstreamServer, mirror: UpstreamServer, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Upstreams]:
    monkeypatch.setattr(outbound, "_BACKOFF", 0.0)
    made = Upstreams(sources_of(ours, mirror, upstream))
    yield made
    await made.close()


async def fresh(asked: Upstreams, project: str, tag: str = "") -> Fresh:
    answer = await asked.page(project, tag)
    assert isinstance(answer, Fresh)
    return answer


@pytest.mark.parametrize("project", ["acme-tool", "corp-utils"])
async def test_a_name_of_ours_is_asked_of_nobody_else(
    asked: Upstreams, ours: UpstreamServer, mirror: UpstreamServer, upstream: UpstreamServer, project: str
) -> None:
    """Dependency confusion: the same name at a public index is somebody else's."""
    for server in (mirror, upstream):
        server.add(project, make_wheel(project.replace("-", "_"), "99.0"))
    assert isinstance(await asked.page(project, ""), Missing)
    ours.add(project, make_wheel(project.replace("-", "_"), "1.0"))
    answer = await fresh(asked, project)
    assert answer.page.source == "ours"
    assert answer.page.versions == ("1.0",)
    await ours.stop()
    with pytest.raises(UpstreamError):
        await asked.page(project, "")
    assert not mirror.asked
    assert not upstream.asked


async def test_ours_is_asked_for_nothing_else(
    asked: Upstreams, ours: UpstreamServer, upstream: UpstreamServer
) -> None:
    upstream.add("demo", make_wheel())
    assert (await fresh(asked, "demo")).page.source == "default"
    assert isinstance(await asked.page("acme", ""), Missing)
    assert not ours.asked


async def test_the_next_is_asked_only_when_the_one_before_has_no_such_project(
    asked: Upstreams, mirror: UpstreamServer, upstream: UpstreamServer
) -> None:
    upstream.add("demo", make_wheel(version="2.0"))
    assert (await fresh(asked, "demo")).page.versions == ("2.0",)
    mirror.add("demo", make_wheel(version="1.0"))
    answer = await fresh(asked, "demo")
    assert (answer.page.source, answer.page.versions) == ("mirror", ("1.0",))  # never merged
    assert upstream.asked["/simple/demo/"] == 1
    mirror.page_faults["demo"] = Fault(status=500)
    with pytest.raises(UpstreamError, match="answered 500"):
        await asked.page("demo", "")
    await mirror.stop()
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await asked.page("demo", "")
    assert upstream.asked["/simple/demo/"] == 1


async def test_an_etag_is_shown_to_the_upstream_that_gave_it_alone(
    asked: Upstreams, mirror: UpstreamServer, upstream: UpstreamServer
) -> None:
    upstream.add("demo", make_wheel())
    tag = (await fresh(asked, "demo")).etag
    assert isinstance(await asked.page("demo", tag), NotModified)
    assert "If-None-Match" not in mirror.headers["/simple/demo/"]
    mirror.add("demo", make_wheel(version="3.0"))
    assert (await fresh(asked, "demo", tag)).page.source == "mirror"


async def test_an_etag_of_another_address_is_not_shown(asked: Upstreams, upstream: UpstreamServer) -> None:
    upstream.add("demo", make_wheel())
    for tag in ("", '"etag"', f"0123456789abcdef {(await fresh(asked, 'demo')).etag.split()[-1]}"):
        await fresh(asked, "demo", tag)
        assert "If-None-Match" not in upstream.headers["/simple/demo/"]


async def test_a_file_is_fetched_as_the_upstream_it_is_of(
    asked: Upstreams, ours: UpstreamServer, mirror: UpstreamServer
) -> None:
    """With its credentials; and a page of another upstream cannot lead into ours."""
    wheel = make_wheel("acme_tool")
    ours.add("acme-tool", wheel)
    url = ours.url.replace("/simple/", f"/packages/{wheel.filename}")
    async with asked.file(url, wheel.filename, "ours") as download:
        assert b"".join([chunk async for chunk in download.chunks]) == wheel.data
    assert ours.headers[f"/packages/{wheel.filename}"]["Authorization"] == ours.authorization
    ours.asked.clear()
    with pytest.raises(UpstreamError, match="not allowed"):
        async with asked.file(url, wheel.filename, "mirror"):
            pass
    assert not ours.asked


async def test_a_file_of_an_upstream_that_is_gone_is_not_fetched_from_another(asked: Upstreams) -> None:
    with pytest.raises(UnknownError, match="not in the store"):
        async with asked.file("https://files.example/x", "x", "former"):
            pass


@pytest.fixture
async def moved(index: Index) -> AsyncIterator[list[web.AppRunner]]:
    """Runs further indexes over the same database and store, as after a restart with other settings."""
    runners: list[web.AppRunner] = []
    yield runners
    for runner in runners:
        await runner.cleanup()


async def restarted(index: Index, moved: list[web.AppRunner], sources: tuple[Source, ...]) -> Index:
    config = Config(database_url(), "127.0.0.1", 0, index.folder, sources)
    runner = web.AppRunner(await make_app(config), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    moved.append(runner)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return replace(index, url=f"http://127.0.0.1:{runner.addresses[0][1]}")


async def versions(index: Index, project: str) -> list[str]:
    reply = await index.ask(f"/simple/{project}/", Accept=JSON)
    assert reply.status == 200, reply
    return list(json.loads(reply.body)["versions"])


async def test_a_page_does_not_outlive_the_rule_that_another_upstream_has_the_name(
    index: Index,
    moved: list[web.AppRunner],
    ours: UpstreamServer,
    mirror: UpstreamServer,
    upstream: UpstreamServer,
) -> None:
    upstream.add("acme-tool", make_wheel("acme_tool", "99.0"))
    assert await versions(index, "acme-tool") == ["99.0"]
    again = await restarted(index, moved, sources_of(ours, mirror, upstream))
    ours.page_status = 500
    assert (await again.ask("/simple/acme-tool/")).status == 502  # not the other's, however fresh or stale
    ours.page_status = 200
    ours.add("acme-tool", make_wheel("acme_tool", "1.0"))
    assert await versions(again, "acme-tool") == ["1.0"]
    [row] = await index.rows("SELECT source FROM index_project")
    assert row["source"] == "ours"


async def test_nor_does_a_stored_file(
    index: Index,
    moved: list[web.AppRunner],
    ours: UpstreamServer,
    mirror: UpstreamServer,
    upstream: UpstreamServer,
) -> None:
    """However it is asked for, and also while ours is down; the same file at ours is given."""
    wheel, same = make_wheel("acme_tool", "99.0"), make_wheel("acme_tool", "1.0")
    upstream.add("acme-tool", wheel, same)
    paths = [f"/files/acme-tool/{each.sha256}/{each.filename}" for each in (wheel, same)]
    for path in (*paths, f"{paths[0]}.metadata"):
        assert (await index.ask(path)).status == 200
    ours.add("acme-tool", same)
    ours.page_status = 500
    again = await restarted(index, moved, sources_of(ours, mirror, upstream))
    assert {(await again.ask(path)).status for path in (*paths, f"{paths[0]}.metadata")} == {502}
    await index.rows("DELETE FROM index_project")  # nor when nothing is known but the file
    assert (await again.ask(paths[0])).status == 502
    ours.page_status = 200
    for path in (paths[0], f"{paths[0]}.metadata"):
        assert (await again.ask(path)).status == 404
        assert (await again.ask(path, "HEAD")).status == 404
    assert (await again.ask(paths[1])).body == same.data
    [row] = await index.rows("SELECT facts FROM index_file WHERE version = '1.0'")
    assert row["facts"]["source"] == "ours"


async def test_offline_what_is_stored_is_served_as_it_is(
    index: Index, moved: list[web.AppRunner], upstream: UpstreamServer
) -> None:
    wheel, other = make_wheel(), make_wheel(version="2.0")
    upstream.add("demo", wheel, other)
    path = f"/files/demo/{wheel.sha256}/{wheel.filename}"
    online = await index.ask("/simple/demo/", Accept=JSON)
    assert (await index.ask(path)).body == wheel.data
    await index.ask(f"{path}.metadata")
    await index.ask("/simple/nowhere/")
    upstream.asked.clear()
    await index.expire_pages()
    offline = await restarted(index, moved, ())
    reply = await offline.ask("/simple/demo/", Accept=JSON)
    assert (reply.status, reply.body) == (200, online.body)
    assert "X-Petridish-Stale" not in reply.headers
    assert (await offline.ask(path)).body == wheel.data
    assert (await offline.ask(f"{path}.metadata")).body == wheel.metadata
    refusals = [
        await offline.ask("/simple/unheard-of/"),
        await offline.ask("/simple/nowhere/"),
        await offline.ask(f"/files/demo/{other.sha256}/{other.filename}"),
    ]
    assert [reply.status for reply in refusals] == [404, 404, 404]
    assert _detail(refusals[0]) == "No project unheard-of in the store, and the index has no upstream."
    assert "not in the store" in _detail(refusals[2])
    assert not upstream.asked
    # Back online, what was not found offline is asked for at once.
    upstream.add("unheard-of", make_wheel("unheard_of"))
    assert await versions(index, "unheard-of") == ["1.0"]


def _detail(reply: Reply) -> str:
    return str(json.loads(reply.body)["detail"])


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_probe_through() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.enter()
        breaker.failed()
    assert not breaker.enter()
    clock.now += PAUSE
    assert breaker.enter()
    assert breaker.probing
    assert not breaker.enter()  # while the probe is under way
    breaker.succeeded()
    assert [breaker.enter() for _ in range(9)] == [True] * 9


def test_each_failed_probe_doubles_the_pause_up_to_a_limit() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        breaker.failed()
    pauses = []
    for _ in range(6):
        start = clock.now
        while not breaker.enter():
            clock.now += 1
        pauses.append(clock.now - start)
        breaker.failed()
    assert pauses == [5, 10, 20, 40, LONGEST_PAUSE, LONGEST_PAUSE]


@pytest.mark.parametrize(
    ("rest", "pause"), [(0.0, PAUSE), (1.0, PAUSE), (30.0, 30.0), (3600.0, LONGEST_PAUSE)]
)
def test_what_the_origin_asks_for_makes_the_pause_longer_and_brings_none_about(
    rest: float, pause: float
) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.enter()
        breaker.failed(rest)
    clock.now += pause - 0.5
    assert not breaker.enter()
    clock.now += 0.5
    assert breaker.enter()


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker(Clock())
    for _ in range(FAILURES * 3):
        assert breaker.enter()
        breaker.failed()
        breaker.succeeded()


def test_a_probe_whose_client_hung_up_makes_room_for_another() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        breaker.failed()
    clock.now += PAUSE
    assert breaker.enter()
    breaker.left()
    assert breaker.enter()


@given(st.lists(st.sampled_from(["enter", "succeeded", "failed", "left", "wait"])))
def test_whatever_happens_a_breaker_closes_again(events: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for event in events:
        if event == "wait":
            clock.now += PAUSE
        else:
            getattr(breaker, event)()
    breaker.left()
    clock.now += LONGEST_PAUSE
    assert breaker.enter()
    breaker.succeeded()
    assert breaker.enter()


def test_the_same_thing_failing_again_says_nothing_of_the_others() -> None:
    breaker = Breaker(Clock())
    for _ in range(FAILURES * 3):
        assert breaker.enter()
        breaker.failed(60, of="/simple/broken/")
    for number in range(FAILURES - 1):
        assert breaker.enter()
        breaker.failed(of=f"/simple/{number}/")
    assert not breaker.enter()
