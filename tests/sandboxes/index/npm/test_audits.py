"""`npm audit`'s one request: what our advisories say of a project's versions."""

import gzip
import json
from typing import Any

import pytest

from sandboxes.index.npm.audits import _spans
from tests.sandboxes.index.conftest import PORTAL, Index

AUDIT = "/npm/-/npm/v1/security/advisories/bulk"
ADVISED = """
WITH advisory AS (
    INSERT INTO screening_advisory
        (id, ecosystem, modified, malicious, severity, summary, aliases, document, source, imported_at)
    VALUES (%(id)s, 'npm', now(), %(malicious)s, %(severity)s, 'It leaks.', '{}', '{}', 'test', now())
    RETURNING id)
INSERT INTO screening_affected (advisory_id, ecosystem, project, versions, ranges)
SELECT id, 'npm', 'demo', %(versions)s, %(ranges)s::jsonb FROM advisory"""

pytestmark = pytest.mark.usefixtures("clear_screening")


async def advise(
    index: Index, identity: str, *ranges: list[list[str]], malicious: bool = False, **said: Any
) -> None:
    values = {"severity": 3, "versions": []} | said
    await index.rows(ADVISED, id=identity, malicious=malicious, ranges=json.dumps(ranges), **values)


async def audit(index: Index, wanted: object, **headers: str) -> tuple[int, Any]:
    body = gzip.compress(json.dumps(wanted).encode())
    sent = {"Authorization": index.auth, "Content-Encoding": "gzip"} | headers
    async with index.session.post(index.url + AUDIT, data=body, headers=sent) as answer:
        return answer.status, json.loads(await answer.read())


async def test_what_is_known_against_what_is_installed(index: Index) -> None:
    await advise(index, "GHSA-1", [["introduced", "1.0.0"], ["fixed", "1.2.0"]])
    await advise(index, "MAL-1", versions=["2.0.0"], malicious=True, severity=None)
    await advise(index, "GHSA-2", [["introduced", "3.0.0"]])
    status, found = await audit(index, {"demo": ["1.1.0", "2.0.0"], "other": ["1.0.0"]})
    assert status == 200
    assert found == {
        "demo": [
            {
                "id": "GHSA-1",
                "url": f"{PORTAL}/why/npm/demo/1.1.0/",
                "title": "GHSA-1: It leaks.",
                "severity": "high",
                "vulnerable_versions": ">=1.0.0 <1.2.0 || 1.1.0",
                "cwe": [],
                "cvss": {"score": 0, "vectorString": None},
            },
            {
                "id": "MAL-1",
                "url": f"{PORTAL}/why/npm/demo/2.0.0/",
                "title": "MAL-1: It leaks.",
                "severity": "critical",
                "vulnerable_versions": "2.0.0",
                "cwe": [],
                "cvss": {"score": 0, "vectorString": None},
            },
        ]
    }
    [fetch] = await index.rows("SELECT kind, ecosystem, filename FROM usage_fetch")
    assert fetch == {"kind": "metadata", "ecosystem": "npm", "filename": "advisories"}


@pytest.mark.parametrize(
    ("events", "spans"),
    [
        ([["introduced", "0"], ["fixed", "1.0.0"]], [">=0.0.0-0 <1.0.0"]),
        ([["introduced", "1.0.0"], ["last_affected", "1.5.0"]], [">=1.0.0 <=1.5.0"]),
        (
            [["introduced", "1.0.0"], ["fixed", "1.1.0"], ["introduced", "2.0.0"]],
            [">=1.0.0 <1.1.0", ">=2.0.0"],
        ),
        ([["fixed", "1.0.0"]], []),
    ],
)
def test_ranges_as_npm_writes_them(events: list[tuple[str, str]], spans: list[str]) -> None:
    assert list(_spans(events)) == spans


@pytest.mark.parametrize("wanted", [[], {"demo": "1.0.0"}, {"demo": ["1.0.0"] * 20_001}])
async def test_what_is_no_question(index: Index, wanted: object) -> None:
    status, problem = await audit(index, wanted)
    assert (status, problem["status"]) == (400, 400)


async def test_nobody_gets_it_unasked_who_they_are(index: Index) -> None:
    assert (await audit(index, {"demo": ["1.0.0"]}, Authorization="Basic bm86Ym9keQ=="))[0] == 401
