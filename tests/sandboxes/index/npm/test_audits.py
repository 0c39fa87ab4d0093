"""`npm audit`'s one request: what our advisories say of a project's versions."""

import asyncio
import gzip
import json
import threading
from typing import Any

import pytest

from sandboxes.index.npm import audits
from sandboxes.index.npm.audits import _report, _spans
from tests.sandboxes.index.conftest import PORTAL, Index
from tests.sandboxes.index.patience import until

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
                "vulnerable_versions": ">=1.0.0 <1.2.0",
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


TOO_MUCH = {
    "names": {f"demo-{n}": [] for n in range(5001)},
    "versions": {f"demo-{n}": ["1.0.0"] * 100 for n in range(51)},
    "versions of one": {"demo": ["1.0.0"] * 201},
}


@pytest.mark.parametrize("wanted", [[], {"demo": "1.0.0"}, *TOO_MUCH.values()])
async def test_what_is_no_question(index: Index, wanted: object) -> None:
    status, problem = await audit(index, wanted)
    assert (status, problem["status"]) == (400, 400)


async def test_nobody_gets_it_unasked_who_they_are(index: Index) -> None:
    assert (await audit(index, {"demo": ["1.0.0"]}, Authorization="Basic bm86Ym9keQ=="))[0] == 401


@pytest.mark.parametrize(
    ("asked", "ranges"),
    [
        ("1.1.0", [[["introduced", "1.0.0"], ["fixed", "what?"]]]),
        ("what?", [[["introduced", "1.0.0"], ["fixed", "1.2.0"]]]),
        ("1.1.0", [[["introduced", "1.0.0"], ["fixed", "1.2.0"]], [["introduced", "?"]]]),
    ],
)
async def test_what_npm_may_not_read_is_said_by_version(index: Index, asked: str, ranges: Any) -> None:
    await advise(index, "GHSA-1", *ranges)
    _, found = await audit(index, {"demo": [asked]})
    assert found["demo"][0]["vulnerable_versions"].split(" || ")[-1] == asked


class Row(dict[str, Any]):
    """Counts how often it is looked at."""

    looks = 0

    def __getitem__(self, key: str) -> Any:
        Row.looks += 1
        return super().__getitem__(key)


def looks_at(names: int) -> int:
    said = {
        "versions": [],
        "ranges": [[["introduced", "0"]]],
        "malicious": True,
        "severity": None,
        "aliases": [],
    }
    rows = [Row(said, id=f"MAL-{n}", project=f"demo-{n}") for n in range(names)]
    Row.looks = 0
    found = json.loads(_report({f"demo-{n}": ["1.0.0"] for n in range(names)}, rows, {}, PORTAL))
    assert len(found) == names
    return Row.looks


def test_twice_as_many_names_are_twice_the_work() -> None:
    assert looks_at(200) == 2 * looks_at(100)


async def test_others_are_answered_while_an_audit_is_worked_out(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a second audit waits for the first."""
    begun: list[int] = []
    go_on = threading.Event()

    def slowly(*arguments: Any) -> bytes:
        begun.append(1)
        assert go_on.wait(30)
        return _report(*arguments)

    monkeypatch.setattr(audits, "_report", slowly)
    asking = [asyncio.create_task(audit(index, {"demo": ["1.0.0"]})) for _ in range(2)]
    await until(lambda: bool(begun))
    assert (await index.ask("/healthz", Authorization="")).status == 200
    await until(lambda: both_are_read(index))
    assert begun == [1]
    go_on.set()
    assert [(await task) for task in asking] == [(200, {}), (200, {})]


async def both_are_read(index: Index) -> bool:
    """Whatever else could be done for them was: an answer that takes the whole way passed by meanwhile."""
    return (await index.ask("/simple/")).status == 200


async def test_a_question_that_does_not_become_whole_is_given_up(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "_BODY_TIME", 0.1)
    host, _, port = index.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {AUDIT} HTTP/1.1\r\nHost: index\r\nAuthorization: {index.auth}\r\nContent-Length: 9\r\n\r\n{{"
    )
    writer.write(head.encode())
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
