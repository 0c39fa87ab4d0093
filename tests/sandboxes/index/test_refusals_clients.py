"""What people read in their terminal when policy refuses: real pip and uv, word for word."""

import asyncio
from dataclasses import dataclass

import pytest

from sandboxes.index import judge
from tests.sandboxes.index.conftest import PORTAL, Index, path_of
from tests.sandboxes.index.refusing import (
    ADVISED,
    DAY,
    JUDGED,
    LISTED,
    PATIENCE,
    SET,
    ago,
    until,
)
from tests.sandboxes.index.test_clients import Installer, index_url, installer
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

__all__ = ["installer"]  # a fixture

WHY = f"why {PORTAL}/why/pypi/demo/2.0/"


@dataclass(frozen=True)
class Case:
    """`statement` makes policy refuse version 2.0; `says` is what its sentence begins with."""

    statement: str
    says: str


CASES = {
    "cooldown": Case("", "[cooldown] released "),
    "denied": Case(
        LISTED.format("'deny', 'demo>=2', 'it phones home', ''"),
        "[denied] demo>=2 is not given here: it phones home",
    ),
    "frozen": Case(f"{SET} freeze_at = '2026-01-10Z'", "[frozen] released after 2026-01-10"),
    "vulnerable": Case(ADVISED.replace("{1}", "{2}"), "[vulnerable] critical vulnerability (PYSEC-1)"),
    "blocked": Case(JUDGED.format("'blocked'"), "[blocked] blocked by a person after it was screened"),
    "held": Case(JUDGED.format("'held'"), "[held] screening found something that a person has to look at"),
}


@pytest.fixture
def old(upstream: UpstreamServer) -> Package:
    package = make_wheel()
    upstream.add("demo", package)
    return package


@pytest.fixture(params=CASES)
async def refused(
    index: Index,
    upstream: UpstreamServer,
    old: Package,
    request: pytest.FixtureRequest,
    clear_screening: None,
) -> str:
    """The sentence that version 2.0 of `demo` is refused with."""
    case = CASES[request.param]
    package = make_wheel(version="2.0")
    upstream.add("demo", package)
    dated = ago(DAY) if request.param == "cooldown" else "2026-01-20T00:00:00Z"
    upstream.extra[package.filename] = {"upload-time": dated}
    if case.statement:
        await index.rows(case.statement, sha256=package.sha256)
    reply = await until(index, path_of(package), 403)
    assert reply.reason.startswith(case.says)
    assert reply.reason.endswith(WHY)
    return reply.reason


async def test_an_unpinned_install_takes_the_older_version(
    index: Index, installer: Installer, refused: str
) -> None:
    code, output = await installer.run(index_url(index), "demo")
    assert code == 0, output
    assert (installer.target / "demo.py").read_text() == 'VERSION = "1.0"\n'
    [page] = await index.rows(
        "SELECT withheld, withheld_by FROM usage_fetch WHERE kind = 'page' ORDER BY id DESC LIMIT 1"
    )
    assert (page["withheld"], f"[{page['withheld_by']}]") == ("2.0", refused.split(" ")[0])


async def test_a_pinned_install_stops_with_the_whole_reason(
    index: Index, installer: Installer, refused: str
) -> None:
    code, output = await installer.run(index_url(index), "demo==2.0")
    assert code != 0
    assert flat(refused) in flat(output), output
    assert not (installer.target / "demo.py").exists()


def flat(text: str) -> str:
    """uv wraps lines, also within URLs and beside its own bars."""
    return "".join(char for char in text if not char.isspace() and char not in "│╰─▶├╭")


async def test_a_lock_file_is_refused_like_a_page(
    index: Index, upstream: UpstreamServer, installer: Installer, old: Package
) -> None:
    """Installing by URL asks no page: what refuses is the file itself."""
    await index.ask(path_of(old))
    await index.rows(LISTED.format("'deny', 'demo', 'it phones home', ''"))
    reply = await until(index, path_of(old), 403)
    url = index_url(index).removesuffix("/simple/")
    code, output = await installer.run(index_url(index), f"demo @ {url}{path_of(old)}")
    assert code != 0
    assert flat(reply.reason) in flat(output), output


@pytest.mark.parametrize("floor", [{"sdists": False}])
async def test_an_sdist_says_why_it_is_none(
    index: Index, upstream: UpstreamServer, installer: Installer
) -> None:
    upstream.add("demo", Package("demo-2.0.tar.gz", b"never read"))
    code, output = await installer.run(index_url(index), "demo==2.0")
    assert code != 0
    assert flat(f"[sdist] a source distribution runs code of its own when it is installed; {WHY}") in flat(
        output
    )


@pytest.mark.parametrize("floor", [{"screened": True}])
async def test_a_file_on_hold_is_waited_for(
    index: Index, installer: Installer, old: Package, clear_screening: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_LOOK", 0.05)
    running = asyncio.create_task(installer.run(index_url(index), "demo==1.0"))
    async with asyncio.timeout(PATIENCE):
        while old.sha256 not in index.stored:  # noqa: ASYNC110 -- what is waited for is a file
            await asyncio.sleep(0.05)
    await index.rows(JUDGED.format("'passed'"), sha256=old.sha256)
    code, output = await running
    assert code == 0, output
