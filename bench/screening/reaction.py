"""From the import of an advisory to sandboxes that are cut off: a whole installation, as `make run` starts it.

    .venv/bin/python -m bench.screening.reaction [--live 100] [--rows 0] [--others 1000] [--aim 60]

Every process of Petridish, its own embedded PostgreSQL, its simulated cluster, its schedules and numbers of workers.
`--live` sandboxes are asked for and opened by the worker; each gets `demo 2.0` through the index, screened
before it is given. With `--rows`, years of installs are there beside these (`bench.screening.history`).

The clock starts when `manage.py import_advisories` is started on a folder: a record of malware that says that
demo 2.0 is, and `--others`, of which every tenth speaks against all versions of a project that many have. It
stops, for each sandbox, at `cut_at`: network policies, access, secrets and pods were looked at on the
cluster by then, and nothing was left. Told apart: that its token stopped working (`isolated_at`). Both by
the database's clock, on this machine. Exit code 1 if one takes longer than the aim.

A simulated cluster has no network plugin and no real kubelet: what a node takes to freeze a pod is not in it.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import psutil
import psycopg

from bench.screening import history
from bench.world import ROOT, load, say
from tests.journey import TRIAL, Person, local_upstream, people
from tests.petridish import Petridish, running

_PATIENCE: Final = 1200.0  # seconds, until all are ready
_FETCHING: Final = 8  # at once
_EVERY: Final = 10  # of the other records one of so many speaks against what many have
_WHEN: Final = """
    SELECT id, extract(epoch FROM isolated_at)::float, extract(epoch FROM cut_at)::float
    FROM lifecycle_sandbox WHERE id = ANY(%s) AND cut_at IS NOT NULL
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--live", type=int, default=100)
    parser.add_argument("--rows", type=int, default=0, help="installs of past sandboxes")
    parser.add_argument("--others", type=int, default=1000, help="records that come with the one")
    parser.add_argument("--aim", type=float, default=60.0, help="seconds")
    options = parser.parse_args()
    with (
        TemporaryDirectory(prefix="petridish-bench-") as folder,
        local_upstream() as upstream,
        running(Path(folder) / "data", INDEX_UPSTREAM=upstream.url) as portal,
        people(portal) as person,
    ):
        return _run(options, portal, person("alice"), person("iris"))


def _run(options: argparse.Namespace, portal: Petridish, alice: Person, iris: Person) -> int:
    with _database(portal) as database:
        _prepare(options.rows, portal)
        live = _opened(options.live, alice, iris)
        _received(live, alice)
        records = _records(portal.data_dir.with_name("records"), options.others)
        say(f"{len(live)} sandboxes are ready and received demo 2.0; {load()}")
        spent = _cpu(portal)
        started = time.time()
        _manage(portal, "import_advisories", str(records))
        say(f"{'imported':>22}: {time.time() - started:5.1f} s, {options.others + 1} records")
        cut = _wait_until_cut(database, live, started + 10 * options.aim)
        used = {name: seconds - spent.get(name, 0.0) for name, seconds in _cpu(portal).items()}
        say(f"{'CPU time':>22}: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in used.items())}")
    return _report(cut, live, started, options.aim)


def _report(cut: dict[int, tuple[float, float]], live: Sequence[int], started: float, aim: float) -> int:
    taken = {number: when - started for number, (_, when) in cut.items()}
    told = " ".join(f"{taken[number]:.1f}" if number in taken else "never" for number in live)
    say(f"{'each':>22}: {told}")
    if taken:
        _line("token refused", [when - started for when, _ in cut.values()])
        _line("cut off on the cluster", list(taken.values()))
    say(load())
    return int(len(taken) < len(live) or max(taken.values()) > aim)


def _line(what: str, seconds: list[float]) -> None:
    say(f"{what:>22}: median {statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s")


def _prepare(rows: int, portal: Petridish) -> None:
    begin = time.monotonic()
    _manage(portal, "shell", "-c", f"from bench.screening import reaction; reaction.prepare({rows})")
    if rows:
        say(f"{rows} installs of past sandboxes written in {time.monotonic() - begin:.0f} s")


def prepare(rows: int) -> None:
    """In a process of the installation: years of installs, and no limit of how many one person may have."""
    from portal.accounts.models import User
    from sandboxes.lifecycle import quota
    from sandboxes.lifecycle.amounts import NO_LIMITS
    from sandboxes.lifecycle.models.quota import Scope

    quota.set_limits(Scope.PERSON, "", NO_LIMITS, by=User.objects.get(username="ada"))
    if rows:
        history.write(rows, live=0, owner=User.objects.get(username="bob").pk)


def _opened(number: int, alice: Person, iris: Person) -> list[int]:
    """By the requests that anybody makes; policy lets an approver decide from the second or so on."""
    begin = time.monotonic()
    made = [_asked_for(alice, iris) for _ in range(number)]
    for each in made:
        alice.until(f"/sandboxes/{each}", lambda found: found["phase"] == "ready", _PATIENCE)
    say(f"{number} sandboxes opened in {time.monotonic() - begin:.0f} s")
    return made


def _asked_for(alice: Person, iris: Person) -> int:
    request = alice.post("/requests", TRIAL | {"duration": "PT4H"}, 201)
    if request["sandbox"] is None:
        request = iris.post(
            f"/requests/{request['id']}/decision", {"decision": "approve", "reason": "Measured"}
        )
    return int(request["sandbox"])


def _received(live: Sequence[int], alice: Person) -> None:
    """As an installer does it: the page, then the file that it names, by the sandbox's own token."""
    addresses = [alice.get(f"/sandboxes/{number}")["index_url"] for number in live]
    with ThreadPoolExecutor(_FETCHING) as pool:
        list(pool.map(_fetch, addresses))


def _fetch(index_url: str) -> None:
    page = httpx.URL(index_url).join("demo/")
    with httpx.Client(headers={"User-Agent": "pip/26.3"}, timeout=60) as client:
        found = re.search(r'href="([^"]*demo-2\.0[^"]*\.whl[^"]*)"', client.get(page).raise_for_status().text)
        if found is None:
            raise RuntimeError(f"{page} does not name the file.")
        auth = (page.username, page.password)
        client.get(page.join(found[1]), auth=auth).raise_for_status()


def _records(folder: Path, others: int) -> Path:
    folder.mkdir()
    modified = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    for number in range(others):
        name = f"project-{number % 100}" if number % _EVERY == 0 else f"project-{20_000 + number}"
        _write(folder, f"GHSA-{number}", name, modified, {"severity": "LOW"}, everything=True)
    _write(folder, "MAL-2026-1", "demo", modified, {}, everything=False)
    return folder


def _write(
    folder: Path, identity: str, name: str, modified: str, more: dict[str, Any], *, everything: bool
) -> None:
    affected: dict[str, Any] = {"package": {"ecosystem": "PyPI", "name": name}}
    if everything:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    else:
        affected["versions"] = ["2.0"]
    document = {"id": identity, "modified": modified, "affected": [affected], "database_specific": more}
    (folder / f"{identity}.json").write_text(json.dumps(document))


def _manage(portal: Petridish, *arguments: str) -> None:
    command = [sys.executable, "manage.py", *arguments]
    subprocess.run(command, cwd=ROOT, env=portal.environ, check=True, stdout=subprocess.DEVNULL)


def _cpu(portal: Petridish) -> dict[str, float]:
    """Of the processes that have to do with it, in seconds: on a busy machine it says more than the clock."""
    children = portal.children()
    server = int((portal.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    backends = psutil.Process(server).children()
    return {
        "worker": _spent([children["queue worker"]]),
        "simulated cluster": _spent([children["simulator"]]),
        "PostgreSQL": _spent(backends),
        "import": sum(os.times()[2:4]),  # of children that ended
    }


def _spent(processes: list[psutil.Process]) -> float:
    seconds = 0.0
    for process in processes:
        with suppress(psutil.Error):
            seconds += sum(process.cpu_times()[:2])
    return seconds


def _wait_until_cut(database: Any, live: Sequence[int], until: float) -> dict[int, tuple[float, float]]:
    while True:
        rows = database.execute(_WHEN, [list(live)]).fetchall()
        if len(rows) == len(live) or time.time() > until:
            return {number: (isolated, cut) for number, isolated, cut in rows}
        time.sleep(0.5)


@contextmanager
def _database(portal: Petridish) -> Iterator[Any]:
    """The installation's own; only read."""
    from portal.supervisor import postgres

    server = postgres.start(portal.data_dir / "postgres")
    try:
        with psycopg.connect(postgres.database(server, "petridish"), autocommit=True) as connection:
            yield connection
    finally:
        postgres.stop(server)


if __name__ == "__main__":
    sys.exit(main())
