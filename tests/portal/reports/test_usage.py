"""What the report says, level by level."""

import csv
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, date, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from portal.reports import usage
from portal.reports.usage import By, DepartmentRow, InstallRow, PersonRow, ToolRow, VersionRow
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle.models import Sandbox
from tests.portal.reports.conftest import Put

FIRST, LAST = date(2026, 11, 1), date(2026, 11, 30)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def november(alice: User, bob: User, sandbox_of: Callable[..., Sandbox], put: Put) -> Sandbox:
    """alice tried polars twice and six once, with two clients; bob tried polars."""
    first, second, third = sandbox_of(alice, "Polars[all]>=1"), sandbox_of(alice), sandbox_of(bob, "polars")
    put(first, "2026-11-02", "polars", "1.0")
    put(first, "2026-11-02T10:00", "six", client="uv 0.13")
    put(second, "2026-11-05", "polars", "1.1")
    put(third, "2026-11-09", "polars", "1.0", build="-1")
    put(third, "2026-10-31T23:59:59", "early")
    put(third, "2026-12-01", "late")
    return first


def test_by_person(november: Sandbox) -> None:
    assert list(usage.rows(start=FIRST, end=LAST, by="person")) == [
        PersonRow(
            username="alice",
            display_name="Alice",
            department="Research",
            sandboxes=2,
            tools=2,
            installs=3,
            first_at=_at("2026-11-02"),
            last_at=_at("2026-11-05"),
            clients=["pip 26.3", "uv 0.13"],
        ),
        PersonRow(
            username="bob",
            display_name="Bob",
            department="Sales",
            sandboxes=1,
            tools=1,
            installs=1,
            first_at=_at("2026-11-09"),
            last_at=_at("2026-11-09"),
            clients=["pip 26.3"],
        ),
    ]


def test_by_department(november: Sandbox) -> None:
    research, sales = usage.rows(start=FIRST, end=LAST, by=By.DEPARTMENT)
    assert isinstance(research, DepartmentRow)
    assert (research.department, research.people, research.sandboxes, research.installs) == (
        "Research",
        1,
        2,
        3,
    )
    assert isinstance(sales, DepartmentRow)
    assert (sales.department, sales.people, sales.tools) == ("Sales", 1, 1)


def test_by_tool(november: Sandbox) -> None:
    polars, six = usage.rows(start=FIRST, end=LAST, by=By.TOOL)
    assert isinstance(polars, ToolRow)
    assert (polars.tool, polars.versions, polars.people, polars.sandboxes, polars.installs) == (
        "polars",
        2,
        2,
        3,
        3,
    )
    assert (polars.first_at, polars.last_at) == (_at("2026-11-02"), _at("2026-11-09"))
    assert isinstance(six, ToolRow)
    assert (six.tool, six.clients) == ("six", ["uv 0.13"])


def test_by_version(november: Sandbox) -> None:
    found = [row for row in usage.rows(start=FIRST, end=LAST, by=By.VERSION) if isinstance(row, VersionRow)]
    assert [(row.tool, row.version, row.files, row.people) for row in found] == [
        ("polars", "1.0", 2, 2),
        ("polars", "1.1", 1, 1),
        ("six", "1.0", 1, 1),
    ]


def test_each_install(november: Sandbox) -> None:
    found = [row for row in usage.rows(start=FIRST, end=LAST, by=By.INSTALL) if isinstance(row, InstallRow)]
    assert [(row.username, row.tool, row.declared) for row in found] == [
        ("alice", "polars", True),
        ("alice", "six", False),
        ("alice", "polars", False),
        ("bob", "polars", True),
    ]
    assert (found[0].sandbox, found[0].sandbox_id) == (f"pd-{november.pk}", november.pk)
    assert (found[0].file, found[0].size) == ("polars-1.0-py3-none-any.whl", 1000)


def test_both_ends_of_the_period_are_in_it(november: Sandbox) -> None:
    found = usage.rows(start=date(2026, 10, 31), end=date(2026, 12, 1), by=By.TOOL)
    assert [astuple(row)[0] for row in found] == ["early", "late", "polars", "six"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (date(2026, 11, 2), date(2026, 11, 1)),
        (date.min, date(2026, 11, 1)),
        (date(2026, 11, 1), date.max),
    ],
)
def test_periods_that_are_none(start: date, end: date) -> None:
    with pytest.raises(InvalidInputError, match="period"):
        usage.rows(start=start, end=end, by=By.PERSON)


def test_a_report_that_does_not_exist() -> None:
    with pytest.raises(InvalidInputError, match="person, department, tool, version, install"):
        usage.rows(start=FIRST, end=LAST, by="salary")


@pytest.mark.parametrize("by", list(By))
def test_one_query_through_the_index_on_time(
    november: Sandbox, by: By, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    found = usage.rows(start=FIRST, end=LAST, by=by)
    with django_assert_num_queries(1) as queries:
        list(found)
    statement = queries[0]["sql"]
    assert "DECLARE" in statement  # a server-side cursor
    query = statement[statement.index("SELECT") :]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("DROP INDEX install_when")  # by sandbox first: on a table this small it is as good
        cursor.execute("EXPLAIN " + query)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "usage_insta_at" in plan, plan


@pytest.mark.parametrize("by", list(By))
def test_csv_has_a_header_and_all_rows(november: Sandbox, by: By) -> None:
    found = list(csv.reader(usage.csv_lines(usage.rows(start=FIRST, end=LAST, by=by))))
    assert tuple(found[0]) == usage.rows(start=FIRST, end=LAST, by=by).columns
    assert len(found) == 1 + len(list(usage.rows(start=FIRST, end=LAST, by=by)))


def test_csv_without_rows_has_its_header(db: None) -> None:
    assert list(usage.csv_lines(usage.rows(start=FIRST, end=LAST, by=By.TOOL))) == [
        "tool,versions,people,sandboxes,installs,first_at,last_at,clients\r\n"
    ]


@pytest.mark.parametrize(("by", "rows"), [(By.TOOL, 1), (By.INSTALL, 2)])
def test_a_page_is_no_longer_than_asked(november: Sandbox, by: By, rows: int) -> None:
    assert len(list(usage.rows(start=FIRST, end=LAST, by=by, limit=rows))) == rows


def test_nothing_is_read_before_it_is_asked_for(november: Sandbox) -> None:
    with CaptureQueriesContext(connection) as queries:
        usage.download(usage.rows(start=FIRST, end=LAST, by=By.PERSON), "usage.csv")
    assert len(queries) == 0
