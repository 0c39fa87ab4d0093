"""Declared against observed."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage import queries
from sandboxes.usage.models import Fetch, Install

type PutFetch = Callable[..., Fetch]
type PutInstall = Callable[..., Install]


@pytest.fixture
def elsewhere(bob: User) -> Sandbox:
    return Sandbox.objects.create(
        owner=bob, cluster="simulated", profile="python", data_class="public", lease=timedelta(hours=1)
    )


def test_installs_newest_first_of_this_sandbox(
    sandbox: Sandbox, elsewhere: Sandbox, installed: PutInstall
) -> None:
    for version in ("1.0", "1.1"):
        installed("six", version)
    installed("other", whose=elsewhere)
    assert [row.version for row in queries.installs(sandbox)] == ["1.1", "1.0"]


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("pandas", "pandas"),
        (" Pandas ", "pandas"),
        ("pandas==2.0", "pandas"),
        ("pandas[excel]>=2,<3", "pandas"),
        ("ruamel.yaml", "ruamel-yaml"),
        ("Flask_Login", "flask-login"),
        ('numpy; python_version > "3"', "numpy"),
        ("Slack", "slack"),
    ],
)
def test_what_reads_as_a_name(tool: str, name: str) -> None:
    assert queries.declared_names([tool]) == {name: tool}


@pytest.mark.parametrize(
    "tool", ["a CRM from the web shop", "Jupyter Lab", "", "==2", "日本", "-e .", "../setup.py"]
)
def test_what_does_not(tool: str) -> None:
    assert queries.declared_names([tool]) == {}


def test_never_tried(
    sandbox: Sandbox,
    elsewhere: Sandbox,
    fetched: PutFetch,
    installed: PutInstall,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    sandbox.tools = ["Pandas[excel]", "polars==1.0", "duckdb", "ruamel.yaml", "a CRM from the web shop"]
    installed("pandas")
    fetched("ruamel-yaml")  # asked for, though nothing came
    fetched("duckdb", whose=elsewhere)
    installed("polars", whose=elsewhere)
    with django_assert_num_queries(1):
        assert queries.never_tried(sandbox) == ["polars==1.0", "duckdb"]


def test_nothing_declared_is_nothing_untried(
    sandbox: Sandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    sandbox.tools = ["free text only"]
    with django_assert_num_queries(0):
        assert queries.never_tried(sandbox) == []


def test_tried_undeclared(
    sandbox: Sandbox, elsewhere: Sandbox, installed: PutInstall, fetched: PutFetch
) -> None:
    sandbox.tools = ["Pandas>=2", "free text"]
    for project in ("pandas", "numpy", "six"):
        installed(project)
    installed("six", "1.1")
    installed("elsewhere", whose=elsewhere)
    fetched("looked-at")
    assert queries.tried_undeclared(sandbox) == ["numpy", "six"]


def test_a_long_list_ends(sandbox: Sandbox, installed: PutInstall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "LONGEST_LIST", 2)
    for project in ("c", "b", "a"):
        installed(project)
    assert queries.tried_undeclared(sandbox) == ["a", "b"]
