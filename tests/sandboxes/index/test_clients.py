"""Real pip and uv, installing a real wheel through the index."""

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.sandboxes.index.conftest import NAME, TOKEN, Index, path_of
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

ROOT = Path(__file__).resolve().parents[3]
UV = shutil.which("uv", path=f"{ROOT / '.uv' / 'bin'}:{os.environ.get('PATH', '')}")
PATIENCE = 30  # seconds; nothing here may wait for a person


@dataclass
class Installer:
    """One client; `run` installs into `target` and gives exit code and output."""

    name: str
    arguments: list[str]
    folder: Path

    @property
    def target(self) -> Path:
        return self.folder / "target"

    async def run(self, index_url: str, *packages: str) -> tuple[int, str]:
        command = [*self.arguments, "--target", str(self.target), "--index-url", index_url, *packages]
        foreign = ("PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
        process = await asyncio.create_subprocess_exec(
            *command,
            env=kept | {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "HOME": str(self.folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode or 0, output.decode()


def _pip() -> list[str]:
    return [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "install",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]


def _uv() -> list[str]:
    return [UV or "", "pip", "install", "--no-cache", "--python", sys.executable]


@pytest.fixture(params=["pip", "uv"])
def installer(request: pytest.FixtureRequest, tmp_path: Path) -> Installer:
    if request.param == "pip":
        return Installer("pip", _pip(), tmp_path)
    if UV is None:
        pytest.skip("no uv on this machine")
    return Installer("uv", _uv(), tmp_path)


def index_url(index: Index, token: str = TOKEN) -> str:
    return f"{index.url.replace('://', f'://{NAME}:{token}@')}/simple/"


@pytest.fixture
def tree(upstream: UpstreamServer) -> list[Package]:
    """`tree` needs `leaf`: metadata and two files are fetched."""
    packages = [make_wheel("tree", requires="leaf>=1"), make_wheel("leaf", "1.0"), make_wheel("leaf", "2.0")]
    upstream.add("tree", packages[0])
    upstream.add("leaf", *packages[1:])
    return packages


@pytest.mark.parametrize("floor", [{"cooldown": timedelta()}])  # HTML dates nothing
@pytest.mark.parametrize("html", [False, True])
async def test_install(
    index: Index, upstream: UpstreamServer, tree: list[Package], installer: Installer, html: bool
) -> None:
    upstream.html = html
    code, output = await installer.run(index_url(index), "tree")
    assert code == 0, output
    assert (installer.target / "leaf.py").read_text() == 'VERSION = "2.0"\n'
    installs = await index.rows("SELECT project, version, client FROM usage_install ORDER BY project")
    assert [(row["project"], row["version"]) for row in installs] == [("leaf", "2.0"), ("tree", "1.0")]
    assert all(row["client"].startswith(f"{installer.name} ") for row in installs)
    kinds = await index.rows("SELECT DISTINCT kind FROM usage_fetch ORDER BY kind")
    assert [row["kind"] for row in kinds] == ["file", "metadata", "page"]


async def test_stored_files_install_without_an_upstream(
    index: Index, upstream: UpstreamServer, tree: list[Package], installer: Installer
) -> None:
    for package in tree:
        path = path_of(package, package.filename.split("-")[0])
        assert (await index.ask(path)).body == package.data
        assert (await index.ask(f"{path}.metadata")).body == package.metadata
    await upstream.stop()
    await index.expire_pages()
    code, output = await installer.run(index_url(index), "tree")
    assert code == 0, output
    assert (installer.target / "tree.py").exists()


async def test_bad_credentials_end_promptly(index: Index, demo: Package, installer: Installer) -> None:
    code, output = await installer.run(index_url(index, "wrong"), "demo")
    assert code != 0
    assert "401" in output


async def test_a_broken_file_says_why(
    index: Index, upstream: UpstreamServer, demo: Package, installer: Installer
) -> None:
    """As the last version of nothing else: 404 is not retried, so the reason comes at once."""
    await index.ask("/simple/demo/")
    upstream.projects["demo"] = []
    upstream.etags = False
    code, output = await installer.run(index_url(index), "demo")
    assert code != 0
    assert f"The upstream index no longer has {demo.filename}" in " ".join(output.split())  # uv wraps lines


async def test_no_credentials_in_any_row_or_page(index: Index, demo: Package) -> None:
    """Tokens reach headers only; what is stored and shown never holds one."""
    page = await index.ask("/simple/demo/")
    auth = aiohttp.encode_basic_auth(NAME, TOKEN).encode()
    rows = str(await index.rows("SELECT usage_fetch::text FROM usage_fetch")).encode()
    assert TOKEN.encode() not in page.body + rows
    assert auth not in page.body + rows
