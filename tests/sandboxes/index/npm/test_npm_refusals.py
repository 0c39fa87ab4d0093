"""One decision on every tarball, as HTTP: allowed, refused, held."""

import asyncio
from typing import Any

import pytest

from sandboxes.index import judge
from tests.sandboxes.index.conftest import PORTAL, Index
from tests.sandboxes.index.npm.conftest import SHORT, answers, packument
from tests.sandboxes.index.npm.registry_server import OLD, RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.patience import until

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
