"""`python -m portal.run` as a person meets it: it comes up, says so, survives what happens, and goes."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.petridish import ROOT, Petridish, running, sign_in, wait_for
from tests.simulator import free_port


def test_it_says_that_it_is_ready_and_who_may_sign_in(petridish: Petridish) -> None:
    lines = petridish.lines

    assert lines.index(f"Petridish is ready: {petridish.url}") == 1
    assert "simulated" in lines[0]
    for name in ("alice", "bob", "iris", "igor", "omar", "ada"):
        login = petridish.login(name)
        assert any(
            re.fullmatch(rf"\s+{name}\s+{login['role']}\s+{re.escape(login['password'])}", line)
            for line in lines
        )


def test_web_and_index_are_ready_when_it_says_so(petridish: Petridish) -> None:
    for url in (petridish.url, petridish.index_url):
        for path in ("/healthz", "/readyz"):
            assert httpx.get(url + path).status_code == 200


def test_what_it_writes_is_closed_to_others(petridish: Petridish) -> None:
    for name in ("demo.json", "secrets.json", "database_url"):
        assert stat.S_IMODE((petridish.data_dir / name).stat().st_mode) == 0o600
    for name in ("logs", "run"):
        assert stat.S_IMODE((petridish.data_dir / name).stat().st_mode) == 0o700


def test_a_demo_person_signs_in(petridish: Petridish) -> None:
    with httpx.Client(base_url=petridish.url, follow_redirects=True) as client:
        assert client.get("/").url.path == "/accounts/login/"
        home = sign_in(client, "alice", petridish.login("alice")["password"])
        assert (home.status_code, home.url.path) == (200, "/")
        assert "Alice Employee" in home.text


def test_a_demo_token_speaks_for_its_person(petridish: Petridish) -> None:
    url = f"{petridish.url}/api/v1/sandboxes"
    bearer = {"Authorization": f"Bearer {petridish.login('bob')['token']}"}

    assert httpx.get(url, headers=bearer).status_code == 200
    assert httpx.get(url, headers={"Authorization": "Bearer pdt_wrong"}).status_code == 401


def test_static_files_are_served(petridish: Petridish) -> None:
    page = httpx.get(petridish.url + "/accounts/login/")
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)

    assert found
    for path in found:
        assert httpx.get(petridish.url + path).status_code == 200, path


def test_manage_py_finds_the_running_database(petridish: Petridish) -> None:
    environ = {**petridish.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    command = [sys.executable, "manage.py", "verify_ledger"]

    assert subprocess.run(command, env=environ, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        *("queue worker", "uvicorn", "sandboxes.index", "sandboxes.index.egress", "simulator", "queue beat"),
        "sandboxes.lifecycle.watcher",
        "sandboxes.index.screening",
    ],
)
def test_a_child_that_is_killed_comes_back(petridish: Petridish, name: str) -> None:
    before = petridish.children()[name]
    before.kill()

    wait_for(lambda: (found := petridish.children().get(name)) is not None and found.pid != before.pid)

    ports = {
        "uvicorn": petridish.port,
        "sandboxes.index": petridish.index_port,
        "sandboxes.index.egress": petridish.egress_port,
    }
    if name in ports:
        wait_for(lambda: _answers(ports[name]))
    assert any("killed by SIGKILL) and is started again" in line for line in petridish.lines)
    assert not petridish.is_gone()


def test_a_second_one_on_the_same_data_is_refused(petridish: Petridish) -> None:
    other = Petridish(petridish.data_dir)
    other.output = petridish.output.with_suffix(".other")
    other.spawn()
    wait_for(other.is_gone)

    assert len(other.lines) == 1
    assert f"already runs on {petridish.data_dir} (process {petridish.pid})" in other.lines[0]
    assert other.process is not None
    assert other.process.returncode == 1
    assert not petridish.is_gone()


def test_stopped_lost_and_killed_it_comes_up_again_as_it_was(tmp_path: Path) -> None:
    with running(tmp_path / "data") as petridish:
        logins = (petridish.data_dir / "demo.json").read_text()
        postmaster = petridish.data_dir / "postgres" / "postmaster.pid"
        note = postmaster.read_text()
        assert petridish.stop(signal.SIGTERM) == 0
        assert petridish.processes() == []

        # As after a power cut, when the number has been given to somebody else.
        postmaster.write_text(note.replace(note.splitlines()[0], str(os.getpid()), 1))
        took = petridish.start()
        assert took < 60  # seconds, on a machine busy with tests; under 5 on one that is not
        assert (petridish.data_dir / "demo.json").read_text() == logins

        children = petridish.children().values()
        petridish.stop(signal.SIGKILL)
        wait_for(lambda: not any(child.is_running() for child in children), 20)
        assert all("postgres" in process.name() for process in petridish.processes())

        petridish.start()
        assert _answers(petridish.port)
        os.killpg(petridish.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        assert petridish.process is not None
        assert petridish.process.wait(30) == 0
        assert petridish.processes() == []


@pytest.mark.parametrize("name", ["PORT", "INDEX_PORT", "EGRESS_PROXY_PORT"])
def test_a_port_in_use_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _is_refused(
            Petridish(tmp_path / "data", **{name: str(port)}), f"{name} {port} is in use; stop what uses it"
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [("PORT", "INDEX_PORT"), ("PORT", "EGRESS_PROXY_PORT"), ("INDEX_PORT", "EGRESS_PROXY_PORT")],
)
def test_one_port_for_both_is_refused(tmp_path: Path, one: str, other: str) -> None:
    port = str(free_port())
    both = Petridish(tmp_path / "data", **{one: port, other: port})
    _is_refused(both, f"{one} and {other} are both {port}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"PORT": "eighty"}, "PORT is 'eighty'"),
        ({"INDEX_BIND": "203.0.113.9"}, "INDEX_BIND is '203.0.113.9', no address of this machine"),
        ({"KUBE_CONTEXT": "lab", "KUBECONFIG": "/nowhere/at/all"}, "is not a file"),
        ({"EGRESS_INSIDE": "git.example.org"}, "EGRESS_INSIDE has 'git.example.org'"),
        (
            {"DATABASE_URL": "postgresql://127.0.0.1:9/petridish"},
            "The database (DATABASE_URL) does not answer",
        ),
    ],
)
def test_what_cannot_work_is_one_clear_line(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    _is_refused(Petridish(tmp_path / "data", **settings), says)


def test_a_cluster_that_does_not_answer_is_one_clear_line(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}],"
        " users: [{name: u, user: {token: t}}], contexts: [{name: lab, context: {cluster: c, user: u}}]}"
    )
    _is_refused(
        Petridish(tmp_path / "data", KUBE_CONTEXT="lab", KUBECONFIG=str(kubeconfig)), "The cluster lab"
    )


def _is_refused(petridish: Petridish, says: str) -> None:
    petridish.data_dir.mkdir()
    petridish.spawn()
    assert petridish.process is not None
    assert petridish.process.wait(60) == 1
    assert [line for line in petridish.lines if not line.startswith("Cluster: ")] == [petridish.lines[-1]]
    assert petridish.lines[-1].startswith("Petridish: ")
    assert says in petridish.lines[-1]
    assert petridish.processes() == []


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_log_that_somebody_takes_away_stops_nothing(petridish: Petridish) -> None:
    (petridish.data_dir / "logs" / "beat.log").unlink()
    before = petridish.children()["queue worker"]
    before.kill()  # the supervisor looks at all its children before it starts this one again
    wait_for(lambda: "queue worker" in petridish.children())
    assert not petridish.is_gone()


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = Petridish(tmp_path / "data", DATA_DIR=str(tmp_path / "file" / "data"))
    refused.spawn()
    wait_for(refused.is_gone)
    assert refused.process is not None
    assert refused.process.returncode == 1
    assert len(refused.lines) == 1
    assert "DATA_DIR" in refused.lines[0]
