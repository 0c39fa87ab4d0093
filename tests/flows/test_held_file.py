"""A file that screening held: refused in a terminal, read and released on its page, and given to the same command.

Everything is as people have it: `make run`'s own processes, a real pip, and pages read and sent as a browser does.
The verdict is written here, as screening would write it of a file with this in it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.flows.test_waiver import browser, press
from tests.journey import TRIAL, local_upstream, people
from tests.petridish import Petridish, running, wait_for
from tests.portal.web.world import FOUND
from tests.sandboxes.index.wheels import Package, make_wheel

WHEEL = make_wheel("odd", "2.0")


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Petridish]:
    folder = tmp_path_factory.mktemp("held") / "data"
    with local_upstream() as upstream:
        upstream.add("odd", WHEEL)
        with running(folder, INDEX_UPSTREAM=upstream.url) as petridish:
            yield petridish


def hold(portal: Petridish, wheel: Package) -> None:
    values = {
        "sha256": wheel.sha256,
        "filename": wheel.filename,
        "findings": json.dumps([FOUND]),
    }
    with psycopg.connect((portal.data_dir / "database_url").read_text().strip(), autocommit=True) as database:
        database.execute(
            "INSERT INTO screening_verdict (sha256, state, reason, at, ecosystem, project, version, filename, level,"
            " score, findings, scanned_by) VALUES (%(sha256)s, 'held', 'It connects', now(), 'pypi', 'odd', '2.0',"
            " %(filename)s, 'hold', 100, %(findings)s, 1000000)",
            values,
        )


def pip_install(index_url: str, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--no-input", "--no-cache-dir"]
    options = ["--index-url", index_url, "--target", str(target), "--retries", "0", "odd==2.0"]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=60)


def is_withheld(index_url: str) -> bool:
    return "[held]" in httpx.get(f"{index_url}odd/").text


def test_from_the_hold_to_the_install(portal: Petridish, tmp_path: Path) -> None:
    hold(portal, WHEEL)
    with people(portal) as person:
        alice = person("alice")
        sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
    wait_for(lambda: is_withheld(sandbox["index_url"]))
    refused = pip_install(sandbox["index_url"], tmp_path / "refused")
    assert refused.returncode != 0
    assert "[held]" in refused.stderr

    with browser(portal, "iris") as approver:
        queue = approver.get("/queue").text
        assert f'href="/held/{WHEEL.sha256}">Held file: odd 2.0<' in queue
        assert re.search(r"1 sandbox waits for it:.*Alice", queue)
        page = approver.get(f"/held/{WHEEL.sha256}")
        assert FOUND["why"] in page.text
        address = f"/held/{WHEEL.sha256}/decide"
        told = press(approver, page, address, decision="release", reason="It may do that")
        assert "Released because" in told.text

        wait_for(lambda: not is_withheld(sandbox["index_url"]))
        installed = pip_install(sandbox["index_url"], tmp_path / "installed")
        assert installed.returncode == 0, installed.stderr
        assert (tmp_path / "installed" / "odd-2.0.dist-info").is_dir()

        press(approver, told, address, decision="reopen", reason="I overlooked something")
        wait_for(lambda: is_withheld(sandbox["index_url"]))
