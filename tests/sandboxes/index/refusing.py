"""What makes policy refuse, and waiting until it does."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic

from tests.sandboxes.index.conftest import Index, Reply
from tests.sandboxes.index.wheels import Package

JSON = "application/vnd.pypi.simple.v1+json"
DAY = timedelta(days=1)
PATIENCE = 20.0  # seconds; it takes less than five
ASKED: list[tuple[str, str, dict[str, str]]] = [
    ("", "GET", {}),
    ("", "HEAD", {}),
    ("", "GET", {"Range": "bytes=0-9"}),
    ("", "GET", {"Range": "bytes=-9"}),
    ("", "GET", {"Range": "bytes=0-9", "If_Range": '"x"'}),
    ("", "GET", {"If_None_Match": "*"}),
    (".metadata", "GET", {}),
    (".metadata", "HEAD", {}),
    (".metadata", "GET", {"Range": "bytes=0-9"}),
    (".metadata", "GET", {"If_None_Match": "*"}),
]
LISTED = (
    "INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source) VALUES ('', 'pypi', {})"
)
ADVISED = """
WITH advisory AS (
    INSERT INTO screening_advisory
        (id, ecosystem, modified, malicious, severity, summary, aliases, document, source, imported_at)
    VALUES ('PYSEC-1', 'pypi', now(), false, 4, '', '{}', '{}', 'test', now()) RETURNING id)
INSERT INTO screening_affected (advisory_id, ecosystem, project, versions, ranges)
SELECT id, 'pypi', 'demo', '{1}', '[]' FROM advisory"""
JUDGED = "INSERT INTO screening_verdict (sha256, state, reason, at) VALUES (%(sha256)s, {}, '', now())"
SET = "UPDATE index_policysetting SET "


def ago(age: timedelta) -> str:
    return (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")


async def until(index: Index, path: str, status: int) -> Reply:
    """The first answer of that status."""
    end = monotonic() + PATIENCE
    while (reply := await index.ask(path)).status != status:
        assert monotonic() < end, f"still {reply.status} {reply.reason}"
        await asyncio.sleep(0.05)
    return reply


async def stored(index: Index, package: Package) -> None:
    """A client may have all of a file a moment before it is on the disk for good."""
    async with asyncio.timeout(PATIENCE):
        while package.sha256 not in index.stored:  # noqa: ASYNC110 -- what is waited for is a file
            await asyncio.sleep(0.01)
