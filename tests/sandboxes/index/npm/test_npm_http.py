"""npm's registry API as HTTP: both forms of a packument, and what goes wrong upstream."""

import asyncio
import gzip
import json

import pytest

from sandboxes.index.config import NPM, Source
from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.npm.conftest import SHORT, expire, packument
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball


async def test_short_form(index: Index, registry: RegistryServer) -> None:
    demo = make_tarball(
        dependencies={"leaf": "^1"},
        bin="cli.js",
        scripts={"postinstall": "node x"},
        engines={"node": ">=18"},
        os=["linux"],
    )
    registry.add(demo)
    reply = await index.ask("/npm/demo", Accept=f"{SHORT}; q=1.0, application/json; q=0.8, */*")
    assert reply.headers["Content-Type"] == SHORT
    assert json.loads(reply.body) == {
        "name": "demo",
        "dist-tags": {"latest": "1.0.0"},
        "modified": "2026-01-02T03:04:05.678000Z",
        "versions": {
            "1.0.0": {
                "name": "demo",
                "version": "1.0.0",
                "dependencies": {"leaf": "^1"},
                "bin": "cli.js",
                "engines": {"node": ">=18"},
                "os": ["linux"],
                "hasInstallScript": True,
                "dist": {
                    "tarball": f"{index.url}{demo.path}",
                    "integrity": demo.integrity,
                    "shasum": registry.document("demo")["versions"]["1.0.0"]["dist"]["shasum"],
                    "unpackedSize": len(demo.data) * 3,
                },
            }
        },
    }


async def test_full_form_is_of_the_same_model(index: Index, demo: Tarball) -> None:
    full, short = await packument(index, accept="*/*"), await packument(index)
    assert full["time"]["1.0.0"] == "2026-01-02T03:04:05.678000Z"
    assert (full["description"], full["_id"]) == ("for tests", "demo")
    assert "readme" not in full
    assert full["versions"]["1.0.0"].pop("main") == "index.js"
    assert full["versions"] == short["versions"]


@pytest.mark.parametrize("path", ["/npm/@acme%2fleaf", "/npm/@acme%2Fleaf", "/npm/@acme/leaf"])
async def test_a_scope_however_its_slash_comes(index: Index, registry: RegistryServer, path: str) -> None:
    leaf = make_tarball("@acme/leaf")
    registry.add(leaf)
    reply = await index.ask(path)
    url = json.loads(reply.body)["versions"]["1.0.0"]["dist"]["tarball"]
    assert url == f"{index.url}/npm/@acme/leaf/-/leaf-1.0.0.tgz"
    assert (await index.ask(url.removeprefix(index.url))).body == leaf.data


async def test_conditional_requests(index: Index, demo: Tarball) -> None:
    plain = await index.ask("/npm/demo", Accept=SHORT)
    again = await index.ask("/npm/demo", Accept=SHORT, If_None_Match=plain.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    full = await index.ask("/npm/demo")
    assert full.headers["ETag"] != plain.headers["ETag"]


async def test_large_ones_are_packed(index: Index, registry: RegistryServer) -> None:
    registry.add(*(make_tarball(version=f"1.{minor}.0") for minor in range(20)))
    plain = await index.ask("/npm/demo", Accept_Encoding="identity")
    packed = await index.ask("/npm/demo", Accept_Encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["ETag"] != plain.headers["ETag"]


async def test_the_upstream_is_asked_once_and_then_with_its_etag(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    await asyncio.gather(*(packument(index) for _ in range(10)))
    assert registry.asked["demo"] == 1
    await expire(index)
    await packument(index)
    assert registry.asked["demo unchanged"] == 1


async def test_an_old_packument_is_shown_when_the_upstream_fails(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    await packument(index)
    registry.status = 500
    await expire(index)
    reply = await index.ask("/npm/demo")
    assert reply.status == 200
    assert "answered 500" in reply.headers["X-Petridish-Stale"]
    assert (await index.ask("/npm/other")).status == 502


async def test_a_package_that_is_not_there(index: Index, registry: RegistryServer, demo: Tarball) -> None:
    assert (await index.ask("/npm/missing")).status == 404
    assert (await index.ask("/npm/missing")).status == 404
    assert registry.asked["missing"] == 1
    assert (await index.ask("/npm/demo/-/demo-9.0.0.tgz")).status == 404
    assert registry.asked["demo_9.0.0.tar.gz"] == 0


async def test_made_up_names_fill_no_table(index: Index, registry: RegistryServer, demo: Tarball) -> None:
    """But one that was there is known to be gone, and what was seen of it stays."""
    for number in range(5):
        await index.ask(f"/npm/made-up-{number}")
    await index.ask("/npm/demo")
    del registry.packages["demo"]
    await expire(index)
    assert (await index.ask("/npm/demo")).status == 404
    rows = await index.rows("SELECT name, missing, document IS NOT NULL AS kept FROM index_packument")
    assert rows == [{"name": "demo", "missing": True, "kept": True}]


async def test_one_that_comes_back_has_been_seen_before(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    """And what comes with it waits, whatever it claims."""
    await index.ask("/npm/demo")
    listed = registry.packages.pop("demo")
    await expire(index)
    assert (await index.ask("/npm/demo")).status == 404
    registry.packages["demo"] = listed
    registry.add(make_tarball(version="1.1.0"))
    await expire(index)
    assert list((await packument(index))["versions"]) == ["1.0.0"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/npm/-/npm/v1/security/audits/quick"),
        ("GET", "/npm/-/v1/search"),
        ("GET", "/npm/-/whoami"),
        ("PUT", "/npm/demo"),
        ("DELETE", "/npm/demo"),
        ("GET", "/npm/"),
        ("GET", "/npm/.."),
        ("GET", "/npm/%2e%2e%2fhealthz"),
        ("GET", "/npm/demo/1.0.0/x"),
        ("POST", "/npm/demo/1.0.0"),
        ("GET", "/npm/demo/-/other-1.0.0.tgz"),
        ("GET", "/npm/demo/-/demo-v1.tgz"),
        ("GET", "/npm/demo/-/demo-1.0.0+a.tgz"),
        ("GET", "/npm/@acme"),
        ("GET", "/npm/a/b/c"),
        ("GET", "/npm/" + "x" * 300),
    ],
)
async def test_what_is_not_here_says_so(
    index: Index, registry: RegistryServer, demo: Tarball, method: str, path: str
) -> None:
    reply = await index.ask(path, method)
    assert reply.status == 404
    assert reply.reason
    assert not registry.asked


async def test_nobody_gets_anything_unasked_who_they_are(index: Index, demo: Tarball) -> None:
    for path in ("/npm/demo", demo.path):
        assert (await index.ask(path, Authorization="")).status == 401


async def test_credentials_go_to_the_registry_alone(index: Index, registry: RegistryServer) -> None:
    registry.authorization = "Bearer secret"
    registry.add(make_tarball())
    assert (await index.ask("/npm/demo")).status == 502


class TestWithCredentials:
    @pytest.fixture
    def source(self, registry: RegistryServer) -> Source:
        registry.authorization = "Bearer secret"
        return Source(registry.url, "Bearer secret", name=NPM)

    async def test_it_answers(self, index: Index, demo: Tarball) -> None:
        assert list((await packument(index))["versions"]) == ["1.0.0"]


class TestWithoutAnUpstream:
    @pytest.fixture
    def source(self) -> None:
        return None

    async def test_it_says_how_to_have_one(self, index: Index) -> None:
        reply = await index.ask("/npm/demo")
        assert (reply.status, "INDEX_NPM_UPSTREAM" in reply.reason) == (404, True)
