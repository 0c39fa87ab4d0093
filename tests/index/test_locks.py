"""Lock files and hashes: they hold what they should, and never a token."""

import sys
from pathlib import Path

import pytest

from tests.index.installers import INSTALLERS, Pip, Uv, run
from tests.index.world import TOKEN, World

pytestmark = pytest.mark.django_db

PROJECT = """
[project]
name = "trial"
version = "1"
requires-python = ">=3.12"
dependencies = ["webapp[speed]", "fresh"]
[[tool.uv.index]]
name = "petridish"
url = "{url}/"
default = true
"""


@pytest.fixture
def uv() -> Uv:
    made = INSTALLERS["uv"]()
    assert isinstance(made, Uv)
    return made


@pytest.fixture
def pip() -> Pip:
    made = INSTALLERS["pip"]()
    assert isinstance(made, Pip)
    return made


def _anonymous(world: World) -> str:
    return f"{world.origin}/simple"


def _credentials(in_url: bool = False) -> dict[str, str]:
    """And the project's own settings are read, which elsewhere are kept out."""
    read = {"UV_NO_CONFIG": "0"}
    return (
        read
        if in_url
        else read | {"UV_INDEX_PETRIDISH_USERNAME": "dish", "UV_INDEX_PETRIDISH_PASSWORD": TOKEN}
    )


@pytest.mark.parametrize("in_url", [True, False])
def test_uv_locks_and_installs_without_writing_the_token_down(
    world: World, uv: Uv, tmp_path: Path, in_url: bool
) -> None:
    url = world.url() if in_url else _anonymous(world)
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(url=url))
    environ = _credentials(in_url)
    for command in ("lock", "sync"):
        code, output = run(uv.command(command, "--python", sys.executable), tmp_path, environ)
        assert code == 0, output
        assert TOKEN not in output
    lock = (tmp_path / "uv.lock").read_text()
    assert TOKEN not in lock
    assert f'name = "fresh"\nversion = "1.0"\nsource = {{ registry = "{world.origin}/simple/" }}' in lock
    assert lock.count('hash = "sha256:') == 8
    assert 'upload-time = "2026-01-02T03:04:05.678Z"' in lock
    assert list(tmp_path.glob(".venv/lib/python*/site-packages/webapp-3.1.dist-info"))


def test_a_lock_file_of_before_a_refusal_is_refused(world: World, uv: Uv, tmp_path: Path) -> None:
    """Nobody asks for a page then: what refuses is the file itself."""
    (tmp_path / "pyproject.toml").write_text(
        PROJECT.format(url=_anonymous(world)).replace('"webapp[speed]", "fresh"', '"later==2.0"')
    )
    credentials = _credentials()
    code, output = run(uv.command("lock", "--python", sys.executable), tmp_path, credentials)
    assert code == 0, output
    frozen = credentials | {"UV_INDEX_PETRIDISH_USERNAME": "frozen"}
    code, output = run(uv.command("sync", "--frozen", "--python", sys.executable), tmp_path, frozen)
    assert code != 0
    assert "[frozen] released after 2026-03-01" in output


def test_what_uv_compiled_pip_installs_by_hash_alone(world: World, uv: Uv, pip: Pip, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("webapp[sql]\nfresh\n")
    options = ["--generate-hashes", "--python", sys.executable, "--default-index", f"{world.url()}/"]
    compiled = uv.command("pip", "compile", *options, "in.txt", "-o", "out.txt")
    code, output = run(compiled, tmp_path)
    assert code == 0, output
    assert TOKEN not in (tmp_path / "out.txt").read_text()
    result = pip.install(tmp_path, world.url(), "--require-hashes", "-r", "out.txt")
    assert result.code == 0, result.output
    assert result.installed["fresh"] == "1.0"
    assert result.installed.keys() == {
        "webapp",
        "router",
        "templates",
        "strings",
        "pool",
        "eventloop",
        "fresh",
    }


def test_a_wrong_hash_is_a_wrong_file(world: World, pip: Pip, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text(f"steady==1.0 --hash=sha256:{'0' * 64}\n")
    result = pip.install(tmp_path, world.url(), "--require-hashes", "-r", "out.txt")
    assert result.code != 0
    assert "DO NOT MATCH THE HASHES" in result.output


def test_pip_downloads_the_very_bytes(world: World, pip: Pip, tmp_path: Path) -> None:
    options = ["--quiet", "--dest", str(tmp_path / "got"), "--index-url", f"{world.url()}/"]
    code, output = run(pip.command("download", *options, "webapp[speed,sql]"), tmp_path)
    assert code == 0, output
    known = {
        package.filename: package.data
        for packages in world.upstream.projects.values()
        for package in packages
    }
    got = {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()}
    assert len(got) == 7
    assert got == {name: known[name] for name in got}
