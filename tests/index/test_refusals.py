"""What people read in their terminal when policy refuses: each client, word for word."""

from pathlib import Path

import pytest

from sandboxes.index import own_names
from tests.index import golden
from tests.index.installers import INSTALLERS, Result
from tests.index.projects import REFUSALS
from tests.index.world import World
from tests.sandboxes.index.conftest import PORTAL
from tests.sandboxes.index.wheels import make_wheel

pytestmark = pytest.mark.django_db

# Which rule it is makes no difference to a client: these two are what can come (a wheel with its metadata
# file, a source distribution). Of clients that start slowly one is asked all.
KINDS = ("cooldown", "sdist")
ASKED = [rule for rule in REFUSALS if rule != "internal-name"]
PINNED = [(name, rule) for name in INSTALLERS for rule in (ASKED if name in ("pip", "uv") else KINDS)]
OURS = REFUSALS["internal-name"]


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
def test_a_name_of_our_own_is_explained_and_nobody_outside_hears_of_it(
    world: World, tmp_path: Path, name: str
) -> None:
    output = _refused(world, tmp_path, INSTALLERS[name]().install(tmp_path, world.url(), OURS.project))
    golden.check(name, f"install {OURS.project}", output)
    assert (
        _shown(name, "internal-name", f"{OURS.says}; why {PORTAL}/why/pypi/{OURS.project}/latest/") in output
    )
    assert not [path for path in world.upstream.asked if "acme" in path]


# What a client that has no version to ask for says of the project it is given instead.
ELSE = {
    "pip-23.2": f"(from versions: {own_names.VERSION})",
    "pip": f"(from versions: {own_names.VERSION})",
    "pdm": "Unable to find a resolution for acme-core",
    "pipenv": "No matching distribution found for acme-core==2.0",
}


@pytest.mark.parametrize("name", INSTALLERS)
def test_a_version_of_our_own_stops_every_client(world: World, tmp_path: Path, name: str) -> None:
    """uv and Poetry show the reason, pip a version whose name says it; PDM and pipenv show nothing of it."""
    result = INSTALLERS[name]().install(tmp_path, world.url(), f"{OURS.project}==2.0")
    output = _refused(world, tmp_path, result)
    golden.check(name, f"install {OURS.project}==2.0", output)
    whole = f"[internal-name] {OURS.says}; why {PORTAL}/why/pypi/{OURS.project}/latest/"
    assert ELSE.get(name, whole) in output
    assert not [path for path in world.upstream.asked if "acme" in path]


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
