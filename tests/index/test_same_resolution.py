"""Where no rule bites, going through the index changes nothing: the same choice as straight from the upstream."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.index.graphs import FILES
from tests.index.installers import INSTALLERS, Pip, Uv, run
from tests.index.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture(params=FILES)
def requirements(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("".join(f"{line}\n" for line in FILES[request.param]))
    return path


def test_pip_reports_the_same(world: World, requirements: Path) -> None:
    pip = INSTALLERS["pip"]()
    assert isinstance(pip, Pip)
    through, direct = (_report(pip, requirements, index) for index in (world.url(), _upstream(world)))
    assert through == direct


def test_most_of_them_can_be_resolved(world: World, tmp_path: Path) -> None:
    """Else equal answers would say little."""
    uv = INSTALLERS["uv"]()
    assert isinstance(uv, Uv)
    for name, lines in FILES.items():
        (tmp_path / "requirements.txt").write_text("\n".join(lines))
        code, output = _compiled(uv, tmp_path / "requirements.txt", world.url())
        assert (code == 0, "--hash=sha256:" in output) == (not name.startswith("no "),) * 2, name


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


def test_uv_locks_the_same(world: World, requirements: Path) -> None:
    """For every system at once, and for every Python from this one on, with hashes."""
    uv = INSTALLERS["uv"]()
    assert isinstance(uv, Uv)
    through, direct = (_compiled(uv, requirements, index) for index in (world.url(), _upstream(world)))
    assert through == direct


def _compiled(uv: Uv, requirements: Path, index: str) -> tuple[int, str]:
    options = ["--universal", "--python", sys.executable, "--generate-hashes", "--no-header", "--quiet"]
    command = uv.command("pip", "compile", *options, "--default-index", f"{index}/", str(requirements))
    code, output = run(command, requirements.parent)
    return code, "" if code else output


def _upstream(world: World) -> str:
    return world.upstream.url.rstrip("/")
