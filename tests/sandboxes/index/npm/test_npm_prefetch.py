"""`manage.py prefetch --npm`: what a lock file pins is in the store, and installs with no upstream."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from sandboxes.errors import InvalidInputError
from sandboxes.index.config import Config
from sandboxes.index.npm.lock_file import read_lock
from tests.sandboxes.index.conftest import Index, serving
from tests.sandboxes.index.npm.conftest import expire
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.npm.test_npm_client import NPM, Npm
from tests.sandboxes.index.test_prefetch import prefetched


@pytest.fixture(autouse=True)
def settings_of_the_process(index: Index, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_UPSTREAM", "none")
    monkeypatch.setenv("INDEX_NPM_UPSTREAM", registry.url)
    monkeypatch.setenv("DATA_DIR", str(index.folder.parent))


@pytest.fixture
def tree(registry: RegistryServer) -> list[Tarball]:
    """`tree` needs `@acme/leaf`."""
    tarballs = [
        make_tarball("tree", dependencies={"@acme/leaf": "^1.0.0"}),
        make_tarball("@acme/leaf", "1.2.3"),
    ]
    registry.add(*tarballs)
    return tarballs


def entry(tarball: Tarball, **more: Any) -> dict[str, Any]:
    return {
        "version": tarball.version,
        "resolved": f"https://registry.example/{tarball.name}/-/x.tgz",
        "integrity": tarball.integrity,
    } | more


def lock(folder: Path, packages: dict[str, Any]) -> str:
    path = folder / "package-lock.json"
    path.write_text(json.dumps({"name": "trial", "lockfileVersion": 3, "packages": {"": {}} | packages}))
    return str(path)


@pytest.mark.skipif(NPM is None, reason="no npm on this machine")
async def test_what_was_prefetched_installs_with_no_upstream(
    index: Index, config: Config, registry: RegistryServer, tree: list[Tarball], tmp_path: Path
) -> None:
    npm = Npm(tmp_path, index)
    code, output = await npm.run("install", "--package-lock-only", "tree")
    assert code == 0, output
    await index.rows("DELETE FROM index_packument")
    said = await prefetched("--npm", str(npm.folder / "project" / "package-lock.json"))
    size = sum(len(tarball.data) for tarball in tree)
    assert said.splitlines() == [
        "leaf-1.2.3.tgz",
        "tree-1.0.0.tgz",
        f"2 files, {size} bytes, are in the store.",
    ]
    await registry.stop()
    await expire(index)
    async with serving(replace(config, npm=None)) as offline:
        npm.index = offline
        code, output = await npm.run("ci", "--replace-registry-host=always")
        assert code == 0, output
        assert (npm.has("tree"), npm.has("@acme/leaf")) == ("1.0.0", "1.2.3")
        code, output = await npm.run("install", "@acme/leaf")
        assert code == 0, output
    installs = await index.rows("SELECT DISTINCT project FROM usage_install ORDER BY project")
    assert [row["project"] for row in installs] == ["@acme/leaf", "tree"]  # npm's, none of the prefetch


async def test_what_cannot_be_had_is_said(
    index: Index, registry: RegistryServer, tree: list[Tarball], fresh: Tarball, big: Tarball, tmp_path: Path
) -> None:
    registry.data["big_1.0.0.tar.gz"] = big.data[:-1] + b"!"
    other = make_tarball("tree", padding=b"other")
    path = lock(
        tmp_path,
        {
            "node_modules/demo": entry(fresh),
            "node_modules/a/node_modules/big": entry(big),
            "node_modules/tree": entry(other),
            "node_modules/alias": entry(tree[1], name="@acme/leaf"),
            "node_modules/gone": entry(make_tarball("gone")),
            "node_modules/repo": entry(tree[1], resolved="git+ssh://git@example.test/repo.git#1"),
        },
    )
    with pytest.raises(CommandError) as error:
        await prefetched("--npm", path)
    said = str(error.value)
    assert "  demo@2.0.0: [cooldown] released " in said
    assert "  big@1.0.0: what the upstream sends is not what its packument says" in said
    assert "  tree@1.0.0: its integrity is not the one in the lock file" in said
    assert "  gone@1.0.0: No package gone at the upstream registry." in said
    assert "  node_modules/repo: not from a registry: left out" in said
    assert tree[1].digest in index.stored


def test_what_a_lock_file_pins(tmp_path: Path) -> None:
    leaf = make_tarball("leaf")
    found = read_lock(
        Path(
            lock(
                tmp_path,
                {
                    "packages/own": {"version": "1.0.0"},
                    "node_modules/own": {"resolved": "packages/own", "link": True},
                    "node_modules/leaf": entry(leaf),
                    "node_modules/a/node_modules/leaf": entry(leaf),
                    "node_modules/a/node_modules/within": {"version": "1.0.0", "inBundle": True},
                    "node_modules/old": entry(make_tarball("old"), integrity="sha1-deadbeef"),
                    "node_modules/odd": entry(leaf, version="one"),
                },
            )
        )
    )
    assert [(str(each), each.digest) for each in found.pinned] == [
        ("leaf@1.0.0", leaf.digest),
        ("old@1.0.0", ""),
    ]
    assert found.left_out == ["node_modules/odd"]


@pytest.mark.parametrize("text", ["", "[]", '{"lockfileVersion": 1, "dependencies": {}}', "[" * 100_000])
def test_what_is_no_lock_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "package-lock.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=r"package-lock\.json"):
        read_lock(path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_lock(tmp_path / "none.json")
