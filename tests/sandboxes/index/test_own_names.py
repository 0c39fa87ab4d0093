"""Names of the company's own: nobody outside hears of them, and who asks for one is told why there is nothing."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sandboxes.index import own_names
from sandboxes.index.config import source
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.patterns import parse
from sandboxes.index.policy.policy import Internal, Policy
from tests.sandboxes.index.conftest import PORTAL, Index, another_process, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

JSON = "application/vnd.pypi.simple.v1+json"
SAYS = f"[internal-name] acme-core is a name of our own and never comes from outside; why {PORTAL}/why/pypi/acme-core"


@pytest.fixture
def acme(upstream: UpstreamServer) -> Package:
    """What somebody registered outside under a name of ours; its wheel has no metadata file, which invites a look."""
    package = make_wheel("acme_core", "9.0")
    upstream.add("acme-core", package)
    upstream.extra[package.filename] = {"core-metadata": False}
    return package


async def ours_are(index: Index, pattern: str, source: str = "") -> None:
    """It holds from when the index says so."""
    await index.rows(
        "INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source) "
        "VALUES ('', 'pypi', 'internal', %(pattern)s, '', %(source)s)",
        pattern=pattern,
        source=source,
    )
    name = pattern.replace("*", "of-nobody")

    async def holds() -> bool:
        return (await index.ask(f"/simple/{name}/", User_Agent="uv/0.13")).status == 451

    await until(holds)


async def test_the_page_is_one_file_that_says_why_it_is_not_given(
    index: Index, upstream: UpstreamServer, acme: Package
) -> None:
    await ours_are(index, "acme-*")
    upstream.asked.clear()
    reply = await index.ask("/simple/acme-core/", Accept=JSON, User_Agent="pip/26.3")
    assert reply.status == 200
    page = json.loads(reply.body)
    assert page["versions"] == [own_names.VERSION]
    [file] = page["files"]
    assert file["yanked"] is False  # else pip would pass it over, and say nothing
    path = file["url"].removeprefix("../..")
    for suffix in ("", ".metadata"):
        for method in ("GET", "HEAD"):
            assert (await index.ask(path + suffix, method)).reason == f"{SAYS}/latest/"
    refused = await index.ask(path)
    document = json.loads(refused.body)
    assert (refused.status, document["rule"], document["waivable"]) == (403, "internal-name", False)
    assert not upstream.asked
    [row] = await index.rows(
        "SELECT withheld_by FROM usage_fetch WHERE project = 'acme-core' AND kind = 'page'"
    )
    assert row["withheld_by"] == "internal-name"


@pytest.mark.parametrize("client", ["uv/0.13.9", "poetry/2.4.1 CPython/3.13"])
async def test_a_client_that_shows_why_a_page_is_refused_is_told_so(
    index: Index, upstream: UpstreamServer, acme: Package, client: str
) -> None:
    await ours_are(index, "acme-*")
    reply = await index.ask("/simple/acme-core/", Accept=JSON, User_Agent=client)
    assert (reply.status, reply.reason) == (451, f"{SAYS}/latest/")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert json.loads(reply.body)["status"] == 451
    assert not upstream.asked["/simple/acme-core/"]
    [row] = await index.rows("SELECT refused FROM usage_fetch WHERE project = 'acme-core'")
    assert row["refused"] == "internal-name"


async def test_a_file_of_a_lock_file_is_refused_without_asking(
    index: Index, upstream: UpstreamServer, acme: Package
) -> None:
    await ours_are(index, "acme-*")
    path = path_of(acme, "acme-core")
    for asked in (path, f"{path}.metadata"):
        reply = await index.ask(asked)
        assert (reply.status, reply.reason) == (403, f"{SAYS}/9.0/")
    assert (await index.ask(path.replace("/files/", "/provenance/"))).status == 404
    assert not [asked for asked in upstream.asked if "core" in asked]


async def test_a_page_that_is_kept_is_shown_refused_and_asked_for_no_more(
    index: Index, upstream: UpstreamServer, acme: Package
) -> None:
    assert (await index.ask("/simple/acme-core/")).status == 200
    await ours_are(index, "acme-*")
    await until(lambda: any(acme.filename in asked for asked in upstream.asked))  # its metadata is looked for
    upstream.asked.clear()
    for _ in range(2):
        await index.expire_pages()
        reply = await index.ask("/simple/acme-core/", Accept=JSON, User_Agent="uv/0.13")
        [file] = json.loads(reply.body)["files"]
        assert (reply.status, file["yanked"]) == (200, f"{SAYS}/9.0/")
    assert (await index.ask(path_of(acme, "acme-core"))).reason == f"{SAYS}/9.0/"
    assert not upstream.asked


@pytest.fixture
async def inside() -> AsyncIterator[UpstreamServer]:
    server = UpstreamServer()
    await server.start()
    yield server
    await server.stop()


async def test_where_one_upstream_has_them_it_alone_is_asked(
    index: Index, upstream: UpstreamServer, inside: UpstreamServer, acme: Package
) -> None:
    """Also when it has none of that name, and though any project may be asked of it."""
    sources = (
        replace(source("INDEX_UPSTREAMS", inside.url), name="inside"),
        source("INDEX_UPSTREAM", upstream.url),
    )
    async with another_process(index, *sources) as both:
        await ours_are(both, "acme-*", "inside")
        upstream.asked.clear()
        assert (await both.ask("/simple/acme-core/", User_Agent="uv/0.13")).status == 451
        assert inside.asked["/simple/acme-core/"] == 1
        own = make_wheel("acme_lib", "1.0")
        inside.add("acme-lib", own)
        assert (await both.ask("/simple/acme-lib/")).status == 200
        assert (await both.ask(path_of(own, "acme-lib"))).body == own.data
        assert not upstream.asked
        upstream.add("demo", make_wheel())
        assert (await both.ask("/simple/demo/")).status == 200


@pytest.mark.parametrize(
    ("entries", "sources"),
    [
        ([], None),
        ([("other-*", "")], None),
        ([("acme-*", "")], frozenset()),
        ([("acme-*", "ours")], frozenset({"ours"})),
        ([("acme-*", "ours"), ("*-core", "ours")], frozenset({"ours"})),
        ([("acme-*", "ours"), ("*-core", "theirs")], frozenset()),
        ([("acme-*", "ours"), ("acme-core", "")], frozenset()),
    ],
)
def test_who_may_hear_a_name(entries: list[tuple[str, str]], sources: frozenset[str] | None) -> None:
    """Nobody, where two entries say different things: a page would be refused by one of them."""
    internal = tuple(Internal(parse(pattern, Ecosystem.PYPI), source) for pattern, source in entries)
    assert own_names.sources_of(Policy(internal=internal), "acme-core") == sources


async def test_a_mirror_is_told_so(index: Index, upstream: UpstreamServer, acme: Package) -> None:
    await ours_are(index, "acme-*")
    reply = await index.ask("/pypi/acme-core/json")
    assert (reply.status, reply.reason) == (451, f"{SAYS}/latest/")
    assert not upstream.asked["/simple/acme-core/"]
