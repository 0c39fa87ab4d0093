"""Names that are taken for others, and those that are not; and what the project's age makes of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.screening import popular
from sandboxes.screening.detectors import look_alikes
from sandboxes.screening.detectors.names import likeness
from sandboxes.screening.findings import Ability, Found
from sandboxes.screening.package import Kind
from sandboxes.screening.words import Ecosystem
from tests.sandboxes.screening.detectors.opened import told
from tests.sandboxes.screening.packages import package

NAMES = popular.names("pypi")
NPM_NAMES = popular.names("npm")

ALIKE = [
    ("reqeusts", "requests"),  # two letters in each other's place
    ("requets", "requests"),  # one less
    ("requestss", "requests"),  # one more
    ("requezts", "requests"),  # another one
    ("colourama", "colorama"),
    ("jeilyfish", "jellyfish"),  # as it looks in capitals
    ("rnatplotlib", "matplotlib"),
    ("tens0rflow", "tensorflow"),
    ("bеautifulsoup4", "beautifulsoup4"),  # a Cyrillic letter
    ("pythondateutil", "python-dateutil"),
    ("dateutil-python", "python-dateutil"),
    ("python3-dateutil", "python-dateutil"),
    ("python-requests", "requests"),
    ("requests-py", "requests"),
    ("pandas-dev", "pandas"),
    ("openai-sdk", "openai"),
]
NPM_ALIKE = [
    ("crossenv", "cross-env"),
    ("loadash", "lodash"),
    ("types-node", "@types/node"),
    ("mongose", "mongoose"),
]
OTHERS = [
    "requests",
    "numpy",
    "six",
    "s6x",
    "boto",
    "petridish",
    "acme-billing-client-of-ours",
    "a",
    "",
    "x" * 500,
]


@pytest.mark.parametrize(("name", "meant"), ALIKE)
def test_it_is_like(name: str, meant: str) -> None:
    alike = likeness(name, NAMES)
    assert alike is not None
    assert alike.popular == meant


@pytest.mark.parametrize(("name", "meant"), NPM_ALIKE)
def test_it_is_like_one_of_npms(name: str, meant: str) -> None:
    alike = likeness(name, NPM_NAMES)
    assert alike is not None
    assert alike.popular == meant


@pytest.mark.parametrize("name", OTHERS)
def test_it_is_like_none(name: str) -> None:
    assert likeness(name, NAMES) is None


def test_what_is_popular_is_like_nobody() -> None:
    assert [name for name in NAMES if likeness(name, NAMES)] == []


@given(st.text(max_size=120))
def test_any_name_is_taken(name: str) -> None:
    alike = likeness(name, NAMES)
    assert alike is None or alike.popular in NAMES


def days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def looked(
    project: str, files: dict[str, str] | None = None, kind: Kind = Kind.WHEEL, **facts: Any
) -> list[Found]:
    return list(look_alikes.look(package(files or {}, kind, project=project, **facts), None))


AGES = [
    ("of today", days_ago(0), "high"),
    ("of last month", days_ago(89), "high"),
    ("older than attacks live", days_ago(91), "low"),
    ("not known", "", "medium"),
    ("nonsense", "yesterday", "medium"),
    ("without a zone", "2015-01-01T00:00:00", "low"),
]


@pytest.mark.parametrize(("since", "threat"), [row[1:] for row in AGES], ids=[row[0] for row in AGES])
def test_the_projects_age_decides(since: str, threat: str) -> None:
    (found,) = looked("reqeusts", project_since=since)
    assert (found.rule, found.ability, str(found.threat)) == ("look-alike.name", Ability.IDENTITY, threat)
    assert "requests, a popular project" in found.why


@pytest.mark.parametrize("project", ["requests", "petridish", ""])
def test_nothing_is_said_of_others(project: str) -> None:
    assert looked(project, project_since=days_ago(1)) == []


CODE = {"requests/__init__.py": "", "requests/api.py": ""}


def test_the_code_of_a_popular_project_under_another_name() -> None:
    assert told(looked("acme-http", CODE, project_since=days_ago(1))) == {("look-alike.code", "high")}
    assert told(looked("acme-http", CODE)) == {("look-alike.code", "medium")}
    assert told(looked("acme-http", CODE, project_since=days_ago(500))) == {("look-alike.code", "low")}


def test_both_its_name_and_its_code_are_graver() -> None:
    both = looked("reqeusts", CODE, project_since=days_ago(1))
    assert told(both) == {("look-alike.name", "high"), ("look-alike.code", "critical")}


@pytest.mark.parametrize(
    "files",
    [
        {"acme/requests/__init__.py": ""},
        {"requests.txt": ""},
        {"tests/__init__.py": ""},
        {"acme/__init__.py": ""},
    ],
)
def test_its_own_code_is_its_own(files: dict[str, str]) -> None:
    assert looked("acme-http", files, project_since=days_ago(1)) == []


def test_sources_may_bring_what_they_like() -> None:
    assert looked("acme-http", CODE, Kind.SDIST) == []


def test_the_lists_that_are_shipped() -> None:
    assert len(NAMES) == 5000
    assert len(NPM_NAMES) == 5000
    assert {"requests", "numpy", "typing-extensions"} <= set(NAMES)
    assert {"lodash", "@babel/core"} <= set(NPM_NAMES)
    assert popular.names("cobol") == ()


LIST = [f"Project_{number}" for number in range(150)]
FORMS: list[tuple[str, str]] = [
    ("lines", "# of today\n" + "\n".join(LIST)),
    ("a list", json.dumps(LIST)),
    ("a list of objects", json.dumps([{"name": name, "downloads": 1} for name in LIST])),
    ("rows in an object", json.dumps({"last_update": "today", "rows": [{"project": name} for name in LIST]})),
    ("with what is no name", "\n".join([*LIST, "a b", "<script>", "-x-", "", *LIST])),
]


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.parametrize("content", [form[1] for form in FORMS], ids=[form[0] for form in FORMS])
def test_a_newer_list_replaces_the_shipped_one(
    content: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = data_dir / "list"
    source.write_text(content)
    call_command("refresh_popular", str(source))
    assert capsys.readouterr().out == "150 names of pypi.\n"
    assert popular.names("pypi") == tuple(f"project-{number}" for number in range(150))
    assert popular.names("npm") == NPM_NAMES
    assert told(looked("project-1O7".lower())) == {("look-alike.name", "medium")}


def test_npms_names_keep_their_scope(data_dir: Path) -> None:
    source = data_dir / "list"
    source.write_text("\n".join(f"@acme/thing-{number}" for number in range(150)))
    call_command("refresh_popular", str(source), ecosystem="npm")
    assert popular.names("npm")[:2] == ("@acme/thing-0", "@acme/thing-1")


REFUSED = [
    ("too few", "requests\nnumpy\n", "it has 2 names"),
    ("no JSON", "[1, 2", "no valid JSON"),
    ("deep", "[" * 100_000, "no valid JSON"),
    ("another document", '{"a": 1}', "it has 0 names"),
    ("empty", "", "it has 0 names"),
]


@pytest.mark.parametrize(("content", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_no_list_changes_nothing(content: str, said: str, data_dir: Path) -> None:
    source = data_dir / "list"
    source.write_text(content)
    with pytest.raises(CommandError, match=said):
        call_command("refresh_popular", str(source))
    assert popular.names("pypi") == NAMES


@pytest.mark.parametrize("source", ["nowhere.txt", "http://127.0.0.1/list", "https://127.0.0.1:9/list"])
def test_a_list_that_cannot_be_had(source: str, data_dir: Path) -> None:
    with pytest.raises(CommandError):
        call_command("refresh_popular", source)
    assert not popular.newer_list(Ecosystem.PYPI).exists()


def test_in_the_place_of_a_list_that_was_spoilt_the_shipped_one_counts(data_dir: Path) -> None:
    """Were nothing compared, whoever spoils a file would have switched a detector off."""
    spoilt = popular.newer_list(Ecosystem.PYPI)
    spoilt.parent.mkdir(parents=True)
    spoilt.write_bytes(b"\xff\xfe")
    assert popular.names("pypi") == NAMES
    assert told(looked("reqeusts")) == {("look-alike.name", "medium")}
