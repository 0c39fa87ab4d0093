"""Other index servers with this one as their upstream: they have what it gives, and nothing that it refuses."""

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.index.clients import environment
from tests.index.installers import INSTALLERS, run
from tests.index.world import PATIENCE, World, until_up
from tests.simulator import free_port

pytestmark = pytest.mark.django_db

PASSWORD = "of-the-mirror"
OWNER = "root"  # the user that devpi begins with
GIVEN = {
    "webapp": "3.1",
    "router": "2.4",
    "templates": "3.2",
    "strings": "2.10",
    "fastjson": "1.1",
    "fresh": "1.0",
}


@contextmanager
def _simple_repository(world: World, folder: Path) -> Iterator[str]:
    port = free_port()
    binary = environment("simple-repository") / "bin" / "simple-repository-server"
    options = ["--host", "127.0.0.1", "--port", str(port), "--stream-http-resources", f"{world.url()}/"]
    with _process([str(binary), *options], folder, f"http://127.0.0.1:{port}/simple/"):
        yield f"http://127.0.0.1:{port}/simple"


@contextmanager
def _devpi(world: World, folder: Path) -> Iterator[str]:
    port, binary = free_port(), environment("devpi") / "bin"
    data = ["--serverdir", str(folder / "data")]
    made = [str(binary / "devpi-init"), *data, "--no-root-pypi", "--root-passwd", PASSWORD]
    code, output = run(made, folder)
    assert code == 0, output
    options = [*data, "--host", "127.0.0.1", "--port", str(port)]
    base = f"http://127.0.0.1:{port}"
    with _process([str(binary / "devpi-server"), *options], folder, f"{base}/+api"):
        token = _sent("POST", f"{base}/+login", {"user": OWNER, "password": PASSWORD})["result"]["password"]
        auth = base64.b64encode(f"{OWNER}:{token}".encode()).decode()
        # Our list of projects has those that somebody asked for: it is no list of what there is.
        index = {"type": "mirror", "mirror_url": f"{world.url()}/", "mirror_no_project_list": True}
        _sent("PUT", f"{base}/{OWNER}/dish", index, {"X-Devpi-Auth": auth})
        yield f"{base}/{OWNER}/dish/+simple"


type Mirror = Callable[[World, Path], Any]
MIRRORS: dict[str, Mirror] = {"simple-repository": _simple_repository, "devpi": _devpi}


@pytest.mark.parametrize("name", MIRRORS)
def test_a_mirror_has_what_we_give_and_nothing_that_we_refuse(
    world: World, tmp_path: Path, name: str
) -> None:
    with MIRRORS[name](world, tmp_path) as mirror:
        result = INSTALLERS["uv"]().install(tmp_path, mirror, "webapp[speed]", "fresh")
        assert result.code == 0, result.output
        assert result.installed == GIVEN
        older, newer = world.upstream.projects["fresh"]
        files = {file["filename"]: file for file in _page(f"{mirror}/fresh/")["files"]}
        assert not files[older.filename].get("yanked")
        assert files[older.filename]["hashes"]["sha256"] == older.sha256
        assert files[newer.filename]["yanked"].startswith("[cooldown] released ")
        (tmp_path / "pinned").mkdir()
        refused = INSTALLERS["uv"]().install(tmp_path / "pinned", mirror, "fresh==2.0")
        assert (refused.code == 0, refused.installed) == (False, {}), refused.output


BANDERSNATCH = """
[mirror]
directory = {folder}
master = {master}
download-mirror = {master}
download-mirror-no-fallback = true
allow-non-https = true
stop-on-error = true
workers = 2
"""


def test_bandersnatch_mirrors_what_it_is_told_to(world: World, tmp_path: Path) -> None:
    """Files and their metadata. It gives up a project of which one file is not given: refused ones are not listed."""
    config, mirror = tmp_path / "bandersnatch.conf", tmp_path / "mirror"
    config.write_text(BANDERSNATCH.format(folder=mirror, master=world.url().removesuffix("/simple")))
    binary = environment("bandersnatch") / "bin" / "bandersnatch"
    code, output = run([str(binary), "--config", str(config), "sync", "fresh", "webapp"], tmp_path)
    assert code == 0, output
    older, newer = world.upstream.projects["fresh"]
    found = {path.name: path.read_bytes() for path in mirror.glob("web/packages/**/*") if path.is_file()}
    assert found[older.filename] == older.data
    assert found[f"{older.filename}.metadata"] == older.metadata
    assert newer.filename not in found
    page = json.loads((mirror / "web" / "simple" / "fresh" / "index.v1_json").read_text())
    assert [file["filename"] for file in page["files"]] == [older.filename]


def _page(url: str) -> Any:
    return httpx.get(url, headers={"Accept": "application/vnd.pypi.simple.v1+json"}).raise_for_status().json()


def _sent(method: str, url: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    said = {"Accept": "application/json", **(headers or {})}
    answer = httpx.request(method, url, json=body, headers=said, timeout=PATIENCE)
    assert answer.is_success, answer.text
    return answer.json()


@contextmanager
def _process(command: list[str], folder: Path, url: str) -> Iterator[None]:
    log = folder / "mirror.log"
    environ = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environ | {"HOME": str(folder)}, stdout=said, stderr=said
        )
    try:
        until_up(url, process, log)
        yield
    finally:
        process.terminate()
        process.wait()
