"""What people read in their terminal when policy refuses: each client, word for word."""

from pathlib import Path

import pytest

from tests.index import golden
from tests.index.installers import INSTALLERS, Result
from tests.index.projects import REFUSALS
from tests.index.world import World
from tests.sandboxes.index.conftest import PORTAL
from tests.sandboxes.index.wheels import make_wheel

pytestmark = pytest.mark.django_db

# Which rule it is makes no difference to a client: these three are what can come (a wheel with its metadata
# file, a source distribution, nothing but refused files). Of clients that start slowly one is asked all.
KINDS = ("cooldown", "sdist", "internal-name")
PINNED = [(name, rule) for name in INSTALLERS for rule in (REFUSALS if name in ("pip", "uv") else KINDS)]


@pytest.mark.parametrize("name", INSTALLERS)
def test_an_unpinned_install_takes_the_older_version(world: World, tmp_path: Path, name: str) -> None:
    projects = [case.project for case in REFUSALS.values() if case.older and case.sandbox == "dish"]
    result = INSTALLERS[name]().install(tmp_path, world.url(), *projects)
    assert result.code == 0, result.output
    assert result.installed == dict.fromkeys(projects, "1.0")


@pytest.mark.parametrize("rule", [rule for rule, case in REFUSALS.items() if case.sandbox != "dish"])
def test_so_it_is_with_what_holds_for_a_whole_index(world: World, tmp_path: Path, rule: str) -> None:
    case = REFUSALS[rule]
    result = INSTALLERS["uv"]().install(tmp_path, world.url(case.sandbox), case.project)
    assert result.installed == {case.project: "1.0"}, result.output


@pytest.mark.parametrize(("name", "rule"), PINNED)
def test_a_pinned_install_stops_and_says_why(world: World, tmp_path: Path, name: str, rule: str) -> None:
    case = REFUSALS[rule]
    result = INSTALLERS[name]().install(tmp_path, world.url(case.sandbox), f"{case.project}==2.0")
    output = _refused(world, tmp_path, result)
    golden.check(name, f"install {case.project}==2.0", output)
    assert _shown(name, rule, f"{case.says}; why {PORTAL}/why/pypi/{case.project}/2.0/") in output


@pytest.mark.parametrize("name", INSTALLERS)
def test_where_all_versions_are_refused_nothing_is_found(world: World, tmp_path: Path, name: str) -> None:
    """uv alone says why without being asked for a version."""
    result = INSTALLERS[name]().install(tmp_path, world.url(), "acme-core")
    golden.check(name, "install acme-core", _refused(world, tmp_path, result))


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_a_file_that_is_not_screened_yet_is_waited_for_and_then_explained(
    world: World, tmp_path: Path, name: str
) -> None:
    """uv asks four times; what the index says after that is what it says the next time."""
    project = f"waiting-{name}".replace(".", "-")
    world.upstream.add(project, make_wheel(project.replace("-", "_")))
    for times in ("at first", "again"):
        folder = tmp_path / times
        folder.mkdir()
        result = INSTALLERS[name]().install(folder, world.url("screened"), f"{project}==1.0")
        output = _refused(world, folder, result)
        golden.check(name, f"install {project}==1.0 ({times})", output)
    assert f"[screening] scan still running; come back later; why {PORTAL}/why/pypi/{project}/1.0/" in output


def _refused(world: World, folder: Path, result: Result) -> str:
    assert result.code != 0, result.output
    assert result.installed == {}
    return golden.normalised(result.output, world, folder)


def _shown(name: str, rule: str, reason: str) -> str:
    """pipenv takes a word in brackets for markup and drops it; PDM shows neither reason phrase nor problem document."""
    match name:
        case "pdm":
            return "403 Forbidden"
        case "pipenv":
            return reason
        case _:
            return f"[{rule}] {reason}"
