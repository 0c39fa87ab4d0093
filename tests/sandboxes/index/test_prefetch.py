"""`manage.py prefetch`: what it brings into the store, and that a real pip then needs no upstream at all."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from aiohttp import web
from django.core.management import call_command
from django.core.management.base import CommandError

from sandboxes.errors import InvalidInputError
from sandboxes.index import requirements_file
from sandboxes.index.app import make_app
from sandboxes.index.config import Config
from sandboxes.index.prefetch import tags_of
from sandboxes.lifecycle.models import Sandbox
from tests.sandboxes.index.conftest import NAME, TOKEN, Index, committed, database_url
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

PATIENCE = 60.0  # seconds


@pytest.fixture
async def offline(index: Index) -> AsyncIterator[Index]:
    """An index with the same store and database, and no upstream."""
    config = Config(database_url(), "127.0.0.1", 0, index.folder, ())
    runner = web.AppRunner(await make_app(config), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield replace(index, url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@pytest.fixture(autouse=True)
def settings_of_the_process(index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command reads from its environment: the same upstream and folder as the index has."""
    monkeypatch.setenv("INDEX_UPSTREAM", upstream.url)
    monkeypatch.setenv("DATA_DIR", str(index.folder.parent))


@pytest.fixture
def tree(upstream: UpstreamServer) -> list[Package]:
    """`tree` needs `leaf`."""
    packages = [make_wheel("tree", requires="leaf>=1"), make_wheel("leaf", "1.0"), make_wheel("leaf", "2.0")]
    upstream.add("tree", packages[0])
    upstream.add("leaf", *packages[1:])
    return packages


async def prefetched(*arguments: str) -> str:
    """What the command says; raises `CommandError` for what it could not fetch."""
    said = StringIO()
    run = asyncio.to_thread(committed, lambda: call_command("prefetch", *arguments, stdout=said))
    await asyncio.wait_for(run, PATIENCE)
    return said.getvalue()


async def pip_install(index: Index, folder: Path, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pip", "--isolated", "install", "--no-cache-dir", "--disable-pip-version-check"),
        *("--target", str(folder / "target")),
        *("--index-url", f"{index.url.replace('://', f'://{NAME}:{TOKEN}@')}/simple/"),
        *arguments,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PIP_CONFIG_FILE": os.devnull},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode or 0, output.decode()


def written(folder: Path, *lines: str) -> str:
    path = folder / "requirements.txt"
    path.write_text("\n".join(lines))
    return str(path)


async def test_what_was_prefetched_installs_with_no_upstream(
    offline: Index, upstream: UpstreamServer, tree: list[Package], tmp_path: Path
) -> None:
    said = await prefetched("-r", written(tmp_path, "tree  # and what it needs"))
    assert said.splitlines()[:2] == ["leaf-2.0-py3-none-any.whl", "tree-1.0-py3-none-any.whl"]
    await upstream.stop()
    upstream.asked.clear()
    code, output = await pip_install(offline, tmp_path, "tree")
    assert code == 0, output
    assert (tmp_path / "target" / "leaf.py").read_text() == 'VERSION = "2.0"\n'
    installs = await offline.rows("SELECT project FROM usage_install ORDER BY project")
    assert [row["project"] for row in installs] == ["leaf", "tree"]  # pip's here, none of the prefetch
    assert not upstream.asked


async def test_nothing_is_recorded_as_a_sandboxs_fetch(
    index: Index, tree: list[Package], tmp_path: Path
) -> None:
    await prefetched("-r", written(tmp_path, "tree"))
    assert await index.rows("SELECT id FROM usage_fetch UNION ALL SELECT id FROM usage_install") == []


async def test_hashes_are_honoured(
    index: Index, upstream: UpstreamServer, tree: list[Package], tmp_path: Path
) -> None:
    wrong = "0" * 64
    with pytest.raises(CommandError, match=r"leaf==1\.0"):
        await prefetched(
            "-r",
            written(
                tmp_path,
                f"tree==1.0 --hash=sha256:{tree[0].sha256}",
                f"leaf==1.0 \\\n    --hash=sha256:{wrong}",
            ),
        )
    assert tree[0].sha256 in index.stored  # what can be had is had
    said = await prefetched(
        "-r",
        written(
            tmp_path,
            *(
                f"{p.filename.split('-')[0]}=={v} --hash=sha256:{p.sha256}"
                for p, v in zip(tree, ("1.0", "1.0"), strict=False)
            ),
        ),
    )
    assert "leaf-1.0-py3-none-any.whl" in said
    assert "leaf-2.0-py3-none-any.whl" not in said


async def test_what_cannot_be_had_is_named_and_the_rest_comes(
    index: Index, tree: list[Package], upstream: UpstreamServer, tmp_path: Path
) -> None:
    lines = [
        "tree",
        "nowhere",
        "leaf @ https://files.example/leaf.whl",
        "-e .",
        "--index-url https://x.example/",
    ]
    with pytest.raises(CommandError) as caught:
        await prefetched("-r", written(tmp_path, *lines))
    said = str(caught.value)
    assert "No matching distribution found for nowhere" in said
    assert said.count("left out") == 3
    assert tree[0].sha256 in index.stored
    assert "@127.0.0.1" not in said  # no URL with the token in it


async def test_for_another_python_markers_are_judged_as_that_one_does(
    index: Index, upstream: UpstreamServer, tmp_path: Path
) -> None:
    upstream.add("tree", make_wheel("tree", requires='leaf; python_version < "3.12"'))
    upstream.add("leaf", make_wheel("leaf"))
    path = written(tmp_path, "tree")
    assert "leaf-1.0" in await prefetched("-r", path, "--python", "3.11")
    assert "leaf-1.0" not in await prefetched("-r", path, "--python", "3.13")


async def test_for_another_platform_the_wheels_that_fit_it_come(
    index: Index, upstream: UpstreamServer, tmp_path: Path
) -> None:
    plain = make_wheel()
    for platform in ("manylinux_2_17_aarch64", "win_amd64"):
        upstream.add("demo", replace(plain, filename=f"demo-1.0-cp311-abi3-{platform}.whl"))
    said = await prefetched(
        "-r", written(tmp_path, "demo"), "--python", "3.13", "--platform", "manylinux_2_28_aarch64"
    )
    assert said.splitlines()[:-1] == ["demo-1.0-cp311-abi3-manylinux_2_17_aarch64.whl"]


async def test_the_most_used_projects_are_those_of_our_own_installs(
    index: Index, sandbox: Sandbox, tree: list[Package], upstream: UpstreamServer, tmp_path: Path
) -> None:
    upstream.add("demo", make_wheel())
    await index.rows(
        """INSERT INTO usage_install (sandbox_id, at, project, version, filename, sha256, size, client)
        SELECT id, now(), 'leaf', '1.0', 'leaf-1.0-py3-none-any.whl', repeat('a', 64), 1, 'pip'
        FROM lifecycle_sandbox"""
    )
    assert (await prefetched("--top", "5")).splitlines()[:-1] == ["leaf-2.0-py3-none-any.whl"]
    (tmp_path / "popular.txt").write_text("demo\n../x\ntree\nleaf\n")
    said = await prefetched("--top", "2", "--names", str(tmp_path / "popular.txt"))
    assert said.splitlines()[:-1] == [
        "demo-1.0-py3-none-any.whl",
        "leaf-2.0-py3-none-any.whl",
        "tree-1.0-py3-none-any.whl",
    ]


async def test_policy_holds_here_too(index: Index, upstream: UpstreamServer, tmp_path: Path) -> None:
    new = make_wheel(version="2.0")
    upstream.add("demo", make_wheel(), new)
    upstream.extra[new.filename] = {"upload-time": "2999-01-01T00:00:00Z"}
    assert "demo-1.0-py3-none-any.whl" in await prefetched("-r", written(tmp_path, "demo"))
    assert new.sha256 not in index.stored


def test_requirement_files_are_read_with_what_they_include(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("leaf==2.0\n-r requirements.txt\n")
    (tmp_path / "limits.txt").write_text("demo<3\n")
    path = written(
        tmp_path,
        "# all of it",
        "-r more.txt",
        "-c limits.txt",
        'tree[extra]>=1; python_version > "3.9"  # a marker',
        "--require-hashes",
        "git+https://git.example/x",
        "./local",
        "--find-links https://files.example/",
    )
    found = requirements_file.read(Path(path))
    assert found.wanted == ["leaf==2.0", 'tree[extra]>=1; python_version > "3.9"']
    assert found.constraints == ["demo<3"]
    assert [line.split(": ", 1)[1] for line in found.left_out] == [
        "git+https://git.example/x",
        "./local",
        "--find-links https://files.example/",
    ]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nothing\.txt"):
        requirements_file.read(tmp_path / "nothing.txt")


def test_a_platform_runs_the_wheels_of_older_ones() -> None:
    tags = tags_of("manylinux_2_17_x86_64")
    assert tags[0] == "manylinux_2_17_x86_64"
    assert {
        "manylinux2014_x86_64",
        "manylinux2010_x86_64",
        "manylinux1_x86_64",
        "manylinux_2_5_x86_64",
    } <= set(tags)
    assert "manylinux_2_28_x86_64" not in tags
    assert tags_of("win_amd64") == ["win_amd64"]
