"""Where no rule bites, going through the index changes nothing: the same choice as straight from the upstream."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.index import extract
from tests.index.extract.refresh import DATES, PYTHON
from tests.index.graphs import FILES
from tests.index.installers import INSTALLERS, Pip, Uv, run
from tests.index.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def real(world: World) -> World:
    """The upstream has what real requirement files reach, besides."""
    extract.add_releases(world.upstream)
    return world


@pytest.fixture(params=[*extract.SETS, *FILES])
def requirements(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return _written(request.param, tmp_path)


def _written(name: str, folder: Path) -> Path:
    path = folder / "requirements.txt"
    if name in FILES:
        path.write_text("".join(f"{line}\n" for line in FILES[name]))
        return path
    shutil.copy(extract.FILES / f"{name}.txt", path)
    shutil.copy(extract.FILES / extract.CONSTRAINTS, folder)
    return path


@pytest.fixture
def pip() -> Pip:
    made = INSTALLERS["pip"]()
    assert isinstance(made, Pip)
    return made


@pytest.fixture
def uv() -> Uv:
    made = INSTALLERS["uv"]()
    assert isinstance(made, Uv)
    return made


def test_pip_reports_the_same(real: World, pip: Pip, requirements: Path) -> None:
    through, direct = (_report(pip, requirements, index) for index in (real.url(), _upstream(real)))
    assert through == direct


def _report(pip: Pip, requirements: Path, index: str) -> Any:
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--index-url", f"{index}/"]
    code, output = run(pip.command("install", *options, "-r", str(requirements)), requirements.parent)
    if code:
        return [
            line for line in output.splitlines() if line.startswith("ERROR: No matching distribution")
        ] or "none"
    said = json.loads(output[output.index("{") :])  # a warning of a yanked version may come first
    return [_choice(each) for each in said["install"]]


def _choice(item: dict[str, Any]) -> dict[str, Any]:
    """What was chosen, but for where it came from."""
    return {
        "metadata": item["metadata"],
        "hashes": item["download_info"]["archive_info"]["hashes"],
        "filename": item["download_info"]["url"].rpartition("/")[2],
        "yanked": item.get("is_yanked"),
        "requested": (item["requested"], item.get("requested_extras")),
    }


def test_uv_locks_the_same(real: World, uv: Uv, requirements: Path) -> None:
    """For every system at once, and for every Python from this one on, with hashes."""
    options = ["--generate-hashes"]
    through, direct = (
        _compiled(uv, requirements, index, *options) for index in (real.url(), _upstream(real))
    )
    assert through == direct


@pytest.mark.parametrize("name", extract.SETS)
def test_uv_chooses_what_it_chose_from_the_real_projects(
    real: World, uv: Uv, tmp_path: Path, name: str
) -> None:
    """Else equal answers would say little: the facts are true, and nothing in between changed the choice."""
    options = ["--python-version", PYTHON, "--no-annotate", "--exclude-newer", DATES[-1]]
    code, output = _compiled(uv, _written(name, tmp_path), real.url(), *options)
    assert (code, output) == (0, (extract.LOCKS / f"{name}.txt").read_text())


def test_most_of_the_invented_ones_can_be_resolved(world: World, uv: Uv, tmp_path: Path) -> None:
    for name in FILES:
        code, output = _compiled(uv, _written(name, tmp_path), world.url(), "--generate-hashes")
        assert (code == 0, "--hash=sha256:" in output) == (not name.startswith("no "),) * 2, name


def test_pip_installs_the_pinned_ones_by_hash(real: World, uv: Uv, pip: Pip, tmp_path: Path) -> None:
    """One of them is yanked, which a pin asks for all the same."""
    code, output = _compiled(uv, _written("pinned", tmp_path), _upstream(real), "--generate-hashes")
    assert code == 0
    (tmp_path / "hashed.txt").write_text(output)
    result = pip.install(tmp_path, real.url(), "--require-hashes", "-r", "hashed.txt")
    assert result.code == 0, result.output
    pins = (line.partition("==") for line in (extract.FILES / "pinned.txt").read_text().split())
    assert result.installed == {name: version for name, _, version in pins}


def _compiled(uv: Uv, requirements: Path, index: str, *options: str) -> tuple[int, str]:
    always = ["--universal", "--python", sys.executable, "--no-header", "--quiet"]
    command = uv.command(
        "pip", "compile", *always, *options, "--default-index", f"{index}/", str(requirements)
    )
    code, output = run(command, requirements.parent)
    return code, "" if code else output


def _upstream(world: World) -> str:
    return world.upstream.url.rstrip("/")
