"""Who has an older version because policy withheld the newer one."""

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage import queries
from sandboxes.usage.models import Fetch, Install

START = timezone.now() - timedelta(days=1)


@pytest.fixture
def mine(alice: User) -> Sandbox:
    return Sandbox.objects.create(
        name="mine", owner=alice, profile="python", data_class="public", lease=timedelta(days=1)
    )


def page(sandbox: Sandbox, minute: int, withheld: str = "", project: str = "demo") -> None:
    rule = "cooldown" if withheld else ""
    Fetch.objects.create(
        sandbox=sandbox,
        at=START + timedelta(minutes=minute),
        kind="page",
        project=project,
        withheld=withheld,
        withheld_by=rule,
    )


def install(sandbox: Sandbox, minute: int, version: str, project: str = "demo") -> None:
    Install.objects.create(
        sandbox=sandbox,
        at=START + timedelta(minutes=minute),
        project=project,
        version=version,
        filename=f"{project}-{version}.whl",
        sha256="0" * 64,
        size=1,
    )


def test_an_older_version_was_taken(mine: Sandbox) -> None:
    page(mine, 1, "2.0")
    install(mine, 2, "1.9")
    [taken] = queries.taken_older(mine)
    assert (taken.project, taken.version, taken.withheld, taken.rule) == ("demo", "1.9", "2.0", "cooldown")
    assert taken.at == START + timedelta(minutes=2)


def test_by_version_order_and_not_by_letters(mine: Sandbox) -> None:
    page(mine, 1, "1.10")
    install(mine, 2, "1.9")
    assert [taken.withheld for taken in queries.taken_older(mine)] == ["1.10"]


@pytest.mark.parametrize("version", ["2.0", "3.0", "no version"])
def test_what_is_not_older_is_not_told(mine: Sandbox, version: str) -> None:
    page(mine, 1, "2.0")
    install(mine, 2, version)
    assert queries.taken_older(mine) == []


def test_the_page_just_before_counts(mine: Sandbox) -> None:
    page(mine, 1, "2.0")
    page(mine, 2)
    install(mine, 3, "1.0")
    page(mine, 4, "2.0")
    assert queries.taken_older(mine) == []


def test_the_newest_install_of_a_project_counts(mine: Sandbox) -> None:
    page(mine, 1, "2.0")
    install(mine, 2, "1.0")
    page(mine, 3)
    install(mine, 4, "2.0")
    assert queries.taken_older(mine) == []


def test_pages_of_others_do_not_count(mine: Sandbox, bob: User) -> None:
    other = Sandbox.objects.create(
        name="other", owner=bob, profile="python", data_class="public", lease=timedelta(days=1)
    )
    page(other, 1, "2.0")
    page(mine, 1, "2.0", "another")
    install(mine, 2, "1.0")
    assert queries.taken_older(mine) == []


def test_packages_of_one_name_are_held_apart_by_where_they_are_from(mine: Sandbox) -> None:
    page(mine, 1, "2.0.0")
    install(mine, 2, "1.0.0")
    Fetch.objects.update(ecosystem="npm")
    assert queries.taken_older(mine) == []
    Install.objects.update(ecosystem="npm")
    assert [taken.ecosystem for taken in queries.taken_older(mine)] == ["npm"]


@pytest.mark.parametrize(
    ("taken", "withheld", "told"),
    [
        ("2.0.0-next.5", "2.0.0", True),
        ("2.0.0-next.5", "1.9.0", False),
        ("2.0.0-next.5", "2.0.0-next.10", True),
        ("2.0.0-1", "2.0.0", True),
        ("2.0.0", "2.0.0-1", False),
        ("1.9.0", "2.0.0-next.5", True),
        ("1.9.0", "1.10.0", True),
        ("no version", "2.0.0", False),
    ],
)
def test_npms_versions_go_by_semver(mine: Sandbox, taken: str, withheld: str, told: bool) -> None:
    page(mine, 1, withheld)
    install(mine, 2, taken)
    for model in (Fetch, Install):
        model.objects.update(ecosystem="npm")
    assert [older.version for older in queries.taken_older(mine)] == ([taken] if told else [])


def test_what_was_refused(mine: Sandbox) -> None:
    page(mine, 1, "2.0")
    Fetch.objects.create(
        sandbox=mine, kind="file", project="demo", filename="demo-2.0.whl", refused="cooldown"
    )
    assert [fetch.refused for fetch in queries.refused(mine)] == ["cooldown"]


def test_it_costs_one_query_however_many_projects(
    mine: Sandbox, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    for n in range(5):
        page(mine, 1, "2.0", f"demo-{n}")
        install(mine, 2, "1.0", f"demo-{n}")
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert len(queries.taken_older(mine)) == 5
