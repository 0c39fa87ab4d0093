"""npm's registry API as HTTP: both forms, policy on every route and method, and what goes wrong upstream."""

import asyncio
import gzip
import json
from datetime import timedelta
from typing import Any

import pytest

from sandboxes.index import judge
from sandboxes.index.config import NPM, Source
from tests.sandboxes.index.conftest import PORTAL, Index
from tests.sandboxes.index.npm.conftest import SHORT, answers, expire, packument
from tests.sandboxes.index.npm.registry_server import OLD, RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.patience import until

DAY = timedelta(days=1)
LISTED = """
INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source)
VALUES ('', 'npm', {}, {}, '')"""
ADVISED = """
WITH advisory AS (
    INSERT INTO screening_advisory
        (id, ecosystem, modified, malicious, severity, summary, aliases, document, source, imported_at)
    VALUES ('GHSA-1', 'npm', now(), false, 4, '', '{}', '{}', 'test', now()) RETURNING id)
INSERT INTO screening_affected (advisory_id, ecosystem, project, versions, ranges)
SELECT id, 'npm', 'demo', '{}', '[[["introduced", "2.0.0"], ["fixed", "2.1.0"]]]' FROM advisory"""
JUDGED = "INSERT INTO screening_verdict (sha256, state, reason, at) VALUES (%(sha256)s, {}, '', now())"
ASKED: list[tuple[str, dict[str, str]]] = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Range": "bytes=0-9"}),
    ("GET", {"If_None_Match": "*"}),
]


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


async def test_a_tarball_is_recorded_with_what_it_is(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    replies = await asyncio.gather(*(index.ask(demo.path) for _ in range(10)))
    assert {reply.body for reply in replies} == {demo.data}
    assert registry.asked["demo_1.0.0.tar.gz"] == 1
    assert index.stored == [demo.digest]
    [row] = await index.rows("SELECT * FROM usage_install")
    assert (row["ecosystem"], row["project"], row["version"]) == ("npm", "demo", "1.0.0")
    assert (row["filename"], row["sha256"], row["size"]) == ("demo-1.0.0.tgz", demo.sha256, len(demo.data))
    kinds = await index.rows("SELECT DISTINCT ecosystem, kind, project FROM usage_fetch")
    assert kinds == [{"ecosystem": "npm", "kind": "file", "project": "demo"}]


async def test_a_part_and_a_head_of_a_tarball(index: Index, demo: Tarball) -> None:
    head = await index.ask(demo.path, "HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(demo.data)))
    assert await index.rows("SELECT 1 FROM usage_install") == []
    part = await index.ask(demo.path, Range="bytes=-5")
    assert (part.status, part.body) == (206, demo.data[-5:])


async def test_stored_tarballs_are_given_when_the_upstream_is_down(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    await index.ask(demo.path)
    await registry.stop()
    await expire(index)
    assert (await index.ask(demo.path)).body == demo.data


async def test_an_unpublished_version_is_given_no_more(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    await index.ask(demo.path)
    registry.packages["demo"].clear()
    await expire(index)
    assert (await index.ask(demo.path)).status == 404


@pytest.mark.parametrize("data", [b"something else", b""])
async def test_bytes_of_another_integrity_are_neither_given_nor_kept(
    index: Index, registry: RegistryServer, demo: Tarball, data: bytes
) -> None:
    registry.data["demo_1.0.0.tar.gz"] = data
    reply = await index.ask(demo.path)
    assert (reply.status, "another sha512" in reply.reason) == (502, True)
    assert index.stored == []
    assert await index.rows("SELECT 1 FROM index_tarball") == []


@pytest.mark.parametrize(("method", "headers"), ASKED)
@pytest.mark.parametrize("kept", [True, False])
async def test_what_is_refused_is_refused_however_it_is_asked_for(
    index: Index, registry: RegistryServer, fresh: Tarball, method: str, headers: Any, kept: bool
) -> None:
    if kept:
        await index.rows("UPDATE index_policysetting SET cooldown = '0'")
        await until(lambda: answers(index, fresh.path, 200))
        await index.rows("UPDATE index_policysetting SET cooldown = '7 days'")
        await until(lambda: answers(index, fresh.path, 403))
        await index.rows("DELETE FROM usage_install")
        await index.rows("DELETE FROM usage_fetch")
    registry.asked.clear()
    reply = await index.ask(fresh.path, method, **headers)
    assert reply.status == 403
    assert reply.reason.startswith("[cooldown] released ")
    assert reply.reason.endswith(f"; why {PORTAL}/why/npm/demo/2.0.0/")
    assert registry.asked["demo_2.0.0.tar.gz"] == 0
    assert await index.rows("SELECT 1 FROM usage_install") == []
    [fetch] = await index.rows("SELECT ecosystem, refused FROM usage_fetch")
    assert fetch == {"ecosystem": "npm", "refused": "cooldown"}


async def test_a_refused_version_is_no_version_and_says_why(index: Index, fresh: Tarball) -> None:
    for accept in (SHORT, "*/*"):
        document = await packument(index, accept=accept)
        assert list(document["versions"]) == ["1.0.0"]
        assert document["dist-tags"] == {"latest": "1.0.0"}
        assert "2.0.0" not in document.get("time", {})
        restrictions = document["policyRestrictions"]
        assert restrictions["versions"] == {"2.0.0": {"name": "demo", "version": "2.0.0"}}
        refused = await index.ask(fresh.path)
        assert restrictions["message"] == f"demo@2.0.0: {refused.reason}"


REFUSED: list[tuple[str, str, str]] = [
    ("denied", LISTED.format("'deny', 'demo@>=2.0.0'", "'it phones home'"), "not given here: it phones home"),
    ("not-allowed", "UPDATE index_policysetting SET only_allowed = true", "is not on the list"),
    ("frozen", "UPDATE index_policysetting SET freeze_at = '2025-01-01Z'", "released after 2025-01-01"),
    ("size", "UPDATE index_policysetting SET most_bytes = 9", "at most 0.0 MiB"),
    ("vulnerable", ADVISED, "critical vulnerability (GHSA-1)"),
    ("blocked", JUDGED.format("'blocked'"), "blocked by a person"),
    ("held", JUDGED.format("'held'"), "a person has to look at"),
]


@pytest.mark.usefixtures("clear_screening")
@pytest.mark.parametrize(("rule", "statement", "reason"), REFUSED, ids=[case[0] for case in REFUSED])
async def test_each_rule_refuses_a_tarball_that_was_given_before(
    index: Index, registry: RegistryServer, demo: Tarball, rule: str, statement: str, reason: str
) -> None:
    later = make_tarball(version="2.0.0")
    registry.add(later)
    assert (await index.ask(later.path)).status == 200
    await registry.stop()
    await index.rows(statement, sha256=later.sha256)
    await until(lambda: answers(index, later.path, 403))
    refused = await index.ask(later.path)
    assert refused.reason.startswith(f"[{rule}] ")
    assert reason in refused.reason
    assert refused.reason in (await packument(index))["policyRestrictions"]["message"]


@pytest.mark.usefixtures("clear_screening")
async def test_blocked_bytes_are_known_again_under_another_name(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    """Nobody can know them before they are here; then they are hashed, and not given."""
    twin = Tarball("twin", "1.0.0", demo.data, demo.manifest | {"name": "twin"})
    registry.add(twin)
    await index.rows(JUDGED.format("'blocked'"), sha256=demo.sha256)
    await until(lambda: answers(index, demo.path, 403))
    assert list((await packument(index, "twin"))["versions"]) == ["1.0.0"]
    assert (await index.ask(twin.path)).reason.startswith("[blocked] ")
    assert "[blocked]" in (await packument(index, "twin"))["policyRestrictions"]["message"]
    assert await index.rows("SELECT 1 FROM usage_install WHERE project = 'twin'") == []


async def test_a_waiver_opens_one_version(index: Index, fresh: Tarball) -> None:
    assert (await index.ask(fresh.path)).status == 403
    await index.rows(
        "INSERT INTO index_waiver (ecosystem, project, version, rule, scope, subject, reason, asked_by_id,"
        " state, until, note) SELECT 'npm', 'demo', '2.0.0', 'cooldown', 'all', '', '', id, 'granted',"
        " now() + interval '1 hour', '' FROM accounts_user"
    )
    await until(lambda: answers(index, fresh.path, 200))
    document = await packument(index)
    assert document["dist-tags"] == {"latest": "2.0.0"}
    assert "policyRestrictions" not in document


async def test_names_of_our_own_are_never_asked_for_outside(index: Index, registry: RegistryServer) -> None:
    """Nor in another spelling: what npm holds apart by case alone, a list does not."""
    registry.add(make_tarball("@acme/Tool"))
    await index.rows(LISTED.format("'internal', '@acme/*'", "''"))
    await until(lambda: answers(index, "/npm/@acme/Tool", 403))
    registry.asked.clear()
    for path in ("/npm/@acme%2fTool", "/npm/@acme/Tool/-/Tool-1.0.0.tgz", "/npm/@acme/none"):
        reply = await index.ask(path)
        assert (reply.status, reply.reason.startswith("[internal-name] ")) == (403, True)
    assert not registry.asked


async def test_a_version_without_a_date_is_as_old_as_its_first_sight(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    registry.extra["demo"] = {"time": {}}
    assert (await index.ask(demo.path)).reason.startswith("[cooldown] ")
    await index.rows("DELETE FROM index_packument")
    registry.extra["demo"] = {"time": {"1.0.0": "2026-01-02T03:04:05"}}  # of which zone?
    assert (await index.ask(demo.path)).reason.startswith("[cooldown] ")


async def test_a_version_that_appears_waits_whatever_it_claims(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    await packument(index)
    late = make_tarball(version="1.1.0")
    registry.add(late, published=OLD)
    await index.rows("UPDATE index_packument SET checked_at = now() - interval '1 day'")
    assert (await index.ask(late.path)).status == 403
    assert (await index.ask(demo.path)).status == 200


async def test_a_tarball_that_is_replaced_under_its_number_waits(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    assert (await index.ask(demo.path)).status == 200
    registry.packages["demo"].clear()
    registry.add(make_tarball(description="another"), published=OLD)
    await index.rows("UPDATE index_packument SET checked_at = now() - interval '1 day'")
    assert (await index.ask(demo.path)).reason.startswith("[cooldown] ")


@pytest.mark.parametrize("floor", [{"screened": True}])
@pytest.mark.usefixtures("clear_screening")
async def test_a_tarball_on_hold_is_fetched_and_waited_for(
    index: Index, demo: Tarball, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_LOOK", 0.02)
    asking = asyncio.create_task(index.ask(demo.path))
    await until(lambda: index.stored == [demo.digest])
    assert not asking.done()
    assert await index.rows("SELECT 1 FROM usage_install") == []
    await index.rows(JUDGED.format("'passed'"), sha256=demo.sha256)
    assert (await asking).body == demo.data


@pytest.mark.parametrize("floor", [{"screened": True}])
@pytest.mark.usefixtures("clear_screening")
async def test_a_tarball_on_hold_that_was_evicted_is_fetched_again(
    index: Index, registry: RegistryServer, demo: Tarball, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_LOOK", 0.02)
    await index.rows(JUDGED.format("'passed'"), sha256=demo.sha256)
    assert (await index.ask(demo.path)).body == demo.data
    for path in (index.folder / "files").rglob(demo.digest):
        path.unlink()
    await index.rows("UPDATE screening_verdict SET state = 'running'")
    asking = asyncio.create_task(index.ask(demo.path))
    await until(lambda: index.stored == [demo.digest])
    assert not asking.done()
    await index.rows("UPDATE screening_verdict SET state = 'passed'")
    assert (await asking).body == demo.data
    assert registry.asked["demo_1.0.0.tar.gz"] == 2


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
