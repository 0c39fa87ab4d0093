"""`/osv/v1`: what osv.dev's API says, from our own tables."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from sandboxes.index import osv_api
from sandboxes.screening import osv, storage
from sandboxes.screening.words import Ecosystem
from tests.sandboxes.index.conftest import Index, committed
from tests.sandboxes.screening.documents import affected, document

DEMO = {"name": "Demo", "ecosystem": "PyPI"}
WITHDRAWN = "2026-03-01T12:00:00Z"

pytestmark = pytest.mark.usefixtures("clear_screening")


def seed(*documents: dict[str, Any]) -> None:
    now = datetime.now(UTC)

    def write() -> None:
        with transaction.atomic():
            storage.write([osv.read(each, now) for each in documents], source="test", now=now)

    committed(write)


@pytest.fixture
def known(index: Index) -> None:
    seed(
        document("PYSEC-1", aliases=["CVE-1"], details="It leaks."),
        document("GHSA-1", affected("demo", [("introduced", "1.5"), ("fixed", "3.0")]), aliases=["CVE-1"]),
        document("PYSEC-2", withdrawn=WITHDRAWN),
        document("MAL-1", affected("demo", versions=["9.0"])),
        document(
            "GHSA-2",
            affected("@acme/tool", [("introduced", "0"), ("fixed", "1.2.0")], ecosystem=Ecosystem.NPM),
        ),
    )


async def post(index: Index, path: str, body: object, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Authorization": index.auth} | headers
    url = f"{index.url}/osv/v1/{path}"
    async with index.session.post(url, data=io.BytesIO(data), headers=sent) as answer:
        return answer.status, json.loads(await answer.read())


async def ids(index: Index, **query: Any) -> list[str]:
    status, found = await post(index, "query", query)
    assert status == 200
    return [each["id"] for each in found.get("vulns", [])]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0", ["PYSEC-1"]),
        ("1.5", ["GHSA-1", "PYSEC-1"]),
        ("2.0", ["GHSA-1"]),
        ("3.0", []),
        ("9.0", ["MAL-1"]),
    ],
)
async def test_what_affects_a_version(index: Index, version: str, expected: list[str]) -> None:
    assert await ids(index, package=DEMO, version=version) == expected
    assert await ids(index, package={"purl": f"pkg:pypi/Demo@{version}"}) == expected
    assert await ids(index, package={"purl": "pkg:pypi/demo"}, version=version) == expected


@pytest.mark.usefixtures("known")
async def test_records_are_given_as_they_came(index: Index) -> None:
    _, found = await post(index, "query", {"package": DEMO, "version": "1.0"})
    assert found == {"vulns": [document("PYSEC-1", aliases=["CVE-1"], details="It leaks.")]}
    assert await post(index, "query", {"package": DEMO, "version": "3.0"}) == (200, {})


@pytest.mark.usefixtures("known")
async def test_without_a_version_all_of_a_package_is_given(index: Index) -> None:
    assert await ids(index, package=DEMO) == ["GHSA-1", "MAL-1", "PYSEC-1"]


@pytest.mark.usefixtures("known")
async def test_npm_with_a_scope(index: Index) -> None:
    purl = "pkg:npm/%40acme/tool@1.1.0?arch=any#lib"
    assert await ids(index, package={"purl": purl}) == ["GHSA-2"]
    assert await ids(index, package={"purl": "pkg:npm/@acme/tool@1.2.0"}) == []
    assert await ids(index, package={"name": "@acme/tool", "ecosystem": "npm"}, version="1.1.0") == ["GHSA-2"]


@pytest.mark.usefixtures("known")
async def test_a_batch_is_answered_in_order_with_ids_alone(index: Index) -> None:
    versions = ["1.5", "3.0", "9.0"]
    queries = [{"package": DEMO, "version": version} for version in versions]
    status, found = await post(index, "querybatch", {"queries": queries})
    modified = {"modified": "2026-03-01T12:00:00Z"}
    assert (status, found["results"]) == (
        200,
        [
            {"vulns": [{"id": "GHSA-1"} | modified, {"id": "PYSEC-1"} | modified]},
            {},
            {"vulns": [{"id": "MAL-1"} | modified]},
        ],
    )


@pytest.mark.usefixtures("known")
async def test_pages(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osv_api, "_PAGE", 2)
    query = {"package": DEMO}
    _, first = await post(index, "query", query)
    assert [each["id"] for each in first["vulns"]] == ["GHSA-1", "MAL-1"]
    _, second = await post(index, "query", query | {"page_token": first["next_page_token"]})
    assert ([each["id"] for each in second["vulns"]], "next_page_token" in second) == (["PYSEC-1"], False)
    _, batch = await post(index, "querybatch", {"queries": [query]})
    assert batch["results"][0]["next_page_token"] == first["next_page_token"]


@pytest.mark.usefixtures("known")
async def test_one_by_its_id_also_when_it_was_withdrawn(index: Index) -> None:
    reply = await index.ask("/osv/v1/vulns/PYSEC-2")
    assert json.loads(reply.body)["withdrawn"] == WITHDRAWN
    assert (await index.ask("/osv/v1/vulns/PYSEC-99")).status == 404
    assert (await index.ask("/osv/v1/vulns/%00")).status == 404
    assert (await index.ask("/osv/v1/vulns/%ff")).status == 404


REFUSED: list[tuple[Any, str]] = [
    (b"{", "A query is JSON"),
    (b"[" * 50_000, "A query is JSON"),
    ([], "A query is a JSON object"),
    ({}, 'A query has a "package"'),
    ({"commit": "6879efc2c1596d11a6a6ad296f80063b558d5e0f"}, "This index knows versions, not commits"),
    ({"package": {"name": "demo", "ecosystem": "Go"}, "version": "1"}, "the ecosystems PyPI and npm only"),
    ({"package": {"purl": "pkg:cargo/demo@1"}}, "the ecosystems PyPI and npm only"),
    ({"package": {"purl": "demo"}}, 'A "purl" begins with pkg:TYPE/NAME'),
    ({"package": {"purl": "pkg:pypi/demo@1"}, "version": "1"}, "and beside it"),
    ({"package": {"purl": "pkg:pypi/demo", "name": "demo"}}, "says name and ecosystem itself"),
    ({"package": {"ecosystem": "PyPI"}, "version": "1"}, "A package has a name"),
    ({"package": DEMO, "version": 1}, '"version" is no text'),
    ({"package": DEMO, "version": "1" * 1001}, '"version" is no text'),
    ({"package": {"name": "a\0b", "ecosystem": "PyPI"}}, '"name" is no text'),
    ({"package": {"name": "\ud800", "ecosystem": "PyPI"}}, '"name" is no text'),
]


@pytest.mark.parametrize(("body", "why"), REFUSED)
async def test_what_cannot_be_answered_is_told(index: Index, body: Any, why: str) -> None:
    """Nothing of it is answered with "no advisories"."""
    status, problem = await post(index, "query", body)
    assert status == 400
    assert why in problem["detail"]
    if not isinstance(body, bytes):
        assert (await post(index, "querybatch", {"queries": [body]}))[0] == 400


async def test_limits(index: Index) -> None:
    query = {"package": DEMO, "version": "1.0"}
    assert (await post(index, "querybatch", {"queries": [query] * 1000}))[0] == 200
    status, problem = await post(index, "querybatch", {"queries": [query] * 1001})
    assert (status, "no more than 1000" in problem["detail"]) == (400, True)
    assert (await post(index, "querybatch", {"queries": {}}))[0] == 400
    assert (await post(index, "query", b" " * (1 << 20) + b"{}"))[0] == 413


async def test_credentials_are_asked_for(index: Index) -> None:
    query = {"package": DEMO, "version": "1.0"}
    for path in ("query", "querybatch"):
        assert (await post(index, path, query, Authorization="Basic eDp5"))[0] == 401
    assert (await index.ask("/osv/v1/vulns/PYSEC-1", Authorization="")).status == 401


@pytest.mark.usefixtures("known")
async def test_what_policy_goes_by_is_what_is_answered(index: Index) -> None:
    """A correction holds at once, a withdrawal too."""
    assert await ids(index, package=DEMO, version="1.0") == ["PYSEC-1"]
    seed(document("PYSEC-1", modified="2026-04-01T12:00:00Z", withdrawn="2026-04-01T12:00:00Z"))
    assert await ids(index, package=DEMO, version="1.0") == []
