"""Who is let in, and what is written down before anything leaves."""

import asyncio
import json
from collections.abc import Mapping
from time import monotonic
from typing import Any

import aiohttp
import pytest

from sandboxes.index import identity, lookups
from sandboxes.index.database import Database, Rows
from sandboxes.index.errors import UnauthenticatedError, UnavailableError
from sandboxes.index.identity import Identities
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.index.conftest import NAME, TOKEN, Index, SetPhase, path_of
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package

PIP = 'pip/26.3 {"ci":null,"installer":{"name":"pip","version":"26.3"}}'
UV = 'uv/0.13.9 {"installer":{"name":"uv","version":"0.13.9","subcommand":["pip","install"]}}'


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer dish-token",
        "Basic !!!",
        aiohttp.encode_basic_auth(NAME, "wrong"),
        aiohttp.encode_basic_auth(NAME, ""),
        aiohttp.encode_basic_auth("other", TOKEN),
        aiohttp.encode_basic_auth("", TOKEN),
        aiohttp.encode_basic_auth("x" * 200, TOKEN),
        aiohttp.encode_basic_auth("nul\0", TOKEN),
    ],
)
async def test_bad_credentials_are_401_everywhere(
    index: Index, upstream: UpstreamServer, demo: Package, authorization: str
) -> None:
    for path in ("/simple/", "/simple/demo/", path_of(demo), f"{path_of(demo)}.metadata"):
        for method in ("GET", "HEAD"):
            reply = await index.ask(path, method, Authorization=authorization)
            assert reply.status == 401
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert "sandbox" in reply.reason
    assert not upstream.asked
    assert await index.rows("SELECT 1 FROM usage_fetch") == []


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase != Phase.READY])
async def test_only_a_ready_sandbox_is_let_in(
    index: Index, demo: Package, set_phase: SetPhase, phase: Phase
) -> None:
    await set_phase(phase)
    assert (await index.ask("/simple/demo/")).status == 401


async def test_a_sandbox_without_a_token_lets_nobody_in(index: Index, demo: Package) -> None:
    await index.rows("UPDATE lifecycle_sandbox SET index_token_digest = ''")
    assert (await index.ask("/simple/demo/")).status == 401


@pytest.mark.parametrize("known", [False, True])
async def test_a_lease_that_is_over_lets_nobody_in_though_no_worker_ended_it(
    index: Index, demo: Package, known: bool
) -> None:
    if known:  # then the recording statement has to notice
        assert (await index.ask("/simple/demo/")).status == 200
    await index.rows("UPDATE lifecycle_sandbox SET expires_at = now()")
    assert (await index.ask("/simple/demo/")).status == 401


async def test_an_ended_sandbox_is_refused_at_once(index: Index, demo: Package, set_phase: SetPhase) -> None:
    """Five seconds are allowed; the recording statement checks again, so it takes none, cached verdict or not."""
    assert (await index.ask(path_of(demo))).status == 200
    await set_phase(Phase.ENDING)
    refused = await index.ask(path_of(demo))
    assert (refused.status, refused.reason) == (401, "The sandbox has ended, or its token was replaced.")
    assert (await index.ask("/simple/demo/")).status == 401


async def test_a_sandbox_that_becomes_ready_is_let_in_within_five_seconds(
    index: Index, demo: Package, set_phase: SetPhase
) -> None:
    await set_phase(Phase.PROBING)
    assert (await index.ask("/simple/demo/")).status == 401
    await set_phase(Phase.READY)
    start = monotonic()
    while (await index.ask("/simple/demo/")).status == 401:
        assert monotonic() - start < 5
        await asyncio.sleep(0.1)


async def test_every_ask_is_recorded(index: Index, demo: Package) -> None:
    await index.ask("/simple/", User_Agent=PIP)
    await index.ask("/simple/demo/", User_Agent=PIP)
    await index.ask(f"{path_of(demo)}.metadata", User_Agent=UV)
    await index.ask(path_of(demo), "HEAD", User_Agent=UV)
    await index.ask(path_of(demo), User_Agent=UV)
    await index.ask("/simple/nowhere/", User_Agent="odd")
    await index.ask("/simple/Demo/", User_Agent=PIP)  # a redirect: what is asked for comes next
    fetches = await index.rows("SELECT kind, project, filename, client FROM usage_fetch ORDER BY id")
    assert [tuple(fetch.values()) for fetch in fetches] == [
        ("page", "", "", "pip 26.3"),
        ("page", "demo", "", "pip 26.3"),
        ("metadata", "demo", demo.filename, "uv 0.13.9"),
        ("file", "demo", demo.filename, "uv 0.13.9"),
        ("file", "demo", demo.filename, "uv 0.13.9"),
        ("page", "nowhere", "", ""),
    ]


async def test_an_install_is_recorded_once(index: Index, demo: Package) -> None:
    await index.ask(path_of(demo), "HEAD", User_Agent=PIP)
    assert await index.rows("SELECT 1 FROM usage_install") == []
    for agent in (PIP, UV):
        await index.ask(path_of(demo), User_Agent=agent)
    [install] = await index.rows("SELECT project, version, filename, sha256, size, client FROM usage_install")
    assert tuple(install.values()) == ("demo", "1.0", demo.filename, demo.sha256, len(demo.data), "pip 26.3")


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("table", ["usage_fetch", "usage_install"])
async def test_what_cannot_be_recorded_is_not_served(
    index: Index, big: Package, table: str, stored: bool
) -> None:
    path = path_of(big, "big")
    if stored:
        await index.ask(path)
        await index.rows("DELETE FROM usage_install")
        await index.rows("DELETE FROM usage_fetch")
    await index.rows(f"ALTER TABLE {table} ADD CONSTRAINT test_full CHECK (id < 0) NOT VALID")
    try:
        reply = await index.ask(path)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        assert json.loads(reply.body)["detail"] == reply.reason
        assert reply.reason.startswith("The index's database refuses")
    finally:
        await index.rows(f"ALTER TABLE {table} DROP CONSTRAINT test_full")
    assert await index.rows("SELECT id FROM usage_fetch UNION SELECT id FROM usage_install") == []


async def test_the_row_is_there_when_the_first_byte_arrives(index: Index, big: Package) -> None:
    url, auth = index.url + path_of(big, "big"), {"Authorization": index.auth}
    async with index.session.get(url, headers=auth) as answer:  # returns with the headers
        assert len(await index.rows("SELECT 1 FROM usage_install")) == 1
        assert await answer.read() == big.data


async def test_use_is_noted_at_most_once_a_minute(index: Index, demo: Package) -> None:
    """What is in use is not put to sleep; the row is not written for each of a thousand requests."""
    noted = "SELECT last_active_at AS at, xmin::text AS version FROM lifecycle_sandbox"
    await index.ask("/simple/demo/")
    (first,) = await index.rows(noted)
    assert first["at"] is not None
    await index.ask(path_of(demo))
    assert await index.rows(noted) == [first]
    await index.rows("UPDATE lifecycle_sandbox SET last_active_at = now() - interval '2 minutes'")
    await index.ask(path_of(demo))
    (later,) = await index.rows(noted)
    assert later["at"] >= first["at"]


async def test_who_is_not_let_in_is_not_in_use(index: Index, demo: Package) -> None:
    await index.ask("/simple/demo/", Authorization=aiohttp.encode_basic_auth(NAME, "wrong"))
    assert await index.rows("SELECT last_active_at AS at FROM lifecycle_sandbox") == [{"at": None}]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that are run from now on."""
    run, seen = Database.rows, list[str]()

    async def rows(self: Database, statement: str, values: Mapping[str, Any]) -> Rows:
        seen.append(statement)
        return await run(self, statement, values)

    monkeypatch.setattr(Database, "rows", rows)
    return seen


async def turned_away(identities: Identities, name: str, token: str = "wrong") -> bool:  # noqa: S107
    """Or let in, or told to come back, which is an error here."""
    try:
        await identities.of(aiohttp.encode_basic_auth(name, token))
    except UnauthenticatedError:
        return True
    return False


async def test_strangers_share_a_statement_however_many_they_are(index: Index, statements: list[str]) -> None:
    identities = Identities(index.database)
    names = [f"nobody-{n}" for n in range(400)]
    verdicts = await asyncio.gather(
        *(turned_away(identities, name) for name in names), turned_away(identities, NAME, TOKEN)
    )
    assert verdicts == [True] * 400 + [False]
    assert statements.count(lookups._FIND) == 1


async def test_what_nobody_has_as_a_name_is_not_looked_up_for_each_password(
    index: Index, statements: list[str]
) -> None:
    identities = Identities(index.database)
    for attempt in range(5):
        assert await turned_away(identities, "nobody", f"guess-{attempt}")
    assert statements.count(lookups._FIND) == 1


async def test_beyond_a_bound_strangers_are_told_to_come_back_and_those_let_in_are_not(
    index: Index, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    identities = Identities(index.database)
    assert not await turned_away(identities, NAME, TOKEN)
    monkeypatch.setattr(lookups, "_MOST_WAITING", 10)
    monkeypatch.setattr(identity, "RENEWAL", identity.KEPT)  # so those let in are looked up anew
    outcomes = await asyncio.gather(
        *(turned_away(identities, f"nobody-{n}") for n in range(30)),
        turned_away(identities, NAME, TOKEN),
        return_exceptions=True,
    )
    assert outcomes[:10] == [True] * 10
    assert all(isinstance(outcome, UnavailableError) for outcome in outcomes[10:30])
    assert outcomes[30] is False
    assert statements.count(lookups._FIND) == 2


async def test_who_was_let_in_a_moment_ago_is_when_nobody_can_be_looked_up(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities = Identities(index.database)
    assert not await turned_away(identities, NAME, TOKEN)

    async def fails(*arguments: object) -> Rows:
        raise UnavailableError("The index's database does not answer; try again.")

    monkeypatch.setattr(Database, "rows", fails)
    monkeypatch.setattr(identity, "RENEWAL", identity.KEPT)
    assert not await turned_away(identities, NAME, TOKEN)
    with pytest.raises(UnavailableError):
        await turned_away(identities, NAME, "another")


async def test_all_who_ask_whether_it_is_ready_are_one_question(index: Index, statements: list[str]) -> None:
    replies = await asyncio.gather(*(index.ask("/readyz", Authorization="") for _ in range(50)))
    assert [reply.status for reply in replies] == [200] * 50
    assert statements.count("SELECT 1") == 1
