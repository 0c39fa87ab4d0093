"""Who is exposed, over millions of installs; embedded PostgreSQL, nothing shared.

    .venv/bin/python -m bench.screening.exposure [--rows 1000000] [--live 100]

The aim is stated for 10,000,000 rows: that takes some 4 GB of disk and several minutes to write, so the
default is a tenth. Installs are written by SQL: 20,000 projects, a few of them in every second sandbox and most
of them rarely, up to 40 versions each, fifty files a sandbox. `--live` sandboxes are ready and have a
release of their own, `malware 1.0`; some past ones had it too.

Measured: an advisory about that release, from its record to exposures found, and to each live sandbox
isolated in its row (what the cluster does after that is `bench.ready`'s to measure); the answer of the API about it;
an advisory about one version of the project that most have; one about all of its versions; its withdrawal;
and how many installs a second are held against what is known when they come.
"""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bench.world import installation, load, say

_SANDBOXES = """
    INSERT INTO lifecycle_sandbox (name, namespace, namespace_uid, cluster, simulated, owner_id, department,
        profile, data_class, tools, spec_hash, index_token_digest, tokens_revoked, phase, lease, end_reason,
        failure, last_error, attempts, cpu_millis, memory_mib, gpus, charged, teardown, inspect_due, observed,
        found, isolation_reason, blocker, hold_reason, next_check_at, ready_at)
    SELECT 'b-' || n, 'b-' || n, '', 'simulated', true, %(owner)s, 'bench', 'python', 'public', '[]', '', '', 0,
        CASE WHEN n <= %(live)s THEN 'ready' ELSE 'ended' END, interval '1 day', '', '', '', 0, 0, 0, 0, false,
        '{}', false, '', '[]', '', '', '', NULL, now()
    FROM generate_series(1, %(sandboxes)s) AS n
"""
_INSTALLS = """
    INSERT INTO usage_install (sandbox_id, at, ecosystem, project, version, filename, sha256, size, client)
    SELECT sandbox, now() - interval '30 days', 'pypi', 'project-' || project, version, 'p' || project || '-' ||
        version || '-py3-none-any.whl', lpad(to_hex(n), 64, '0'), 1000, 'pip 26.3'
    FROM (
        SELECT n, %(first)s + n %% %(sandboxes)s AS sandbox,
               floor(20000 * power(random(), 4))::int AS project,
               '1.' || floor(40 * power(random(), 2))::int AS version
        FROM generate_series(%(start)s, %(end)s) AS n
    ) AS drawn
    ON CONFLICT DO NOTHING
"""
_MALWARE = """
    INSERT INTO usage_install (sandbox_id, at, ecosystem, project, version, filename, sha256, size, client)
    SELECT id, now() - interval '1 day', 'pypi', 'malware', '1.0', 'malware-1.0-py3-none-any.whl',
        repeat('f', 64), 1000, 'pip 26.3'
    FROM lifecycle_sandbox ORDER BY id LIMIT %s
"""
_STEP = 500_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--live", type=int, default=100)
    options = parser.parse_args()
    with installation():
        return run(options)


def run(options: argparse.Namespace) -> int:
    say(load())
    _write(options.rows, options.live)
    from sandboxes.screening import exposures

    popular = "project-0"
    _put("MAL-1", "malware", versions=["1.0"])
    _find("found: a release of few")
    _timed("acted: isolated in their rows", exposures.act)
    _timed("answer: the page's first rows", lambda: _answer("MAL-1"))
    _put("GHSA-1", popular, versions=["1.7"])
    _find("found: one version of the most used")
    _timed("answer: the page's first rows", lambda: _answer("GHSA-1"))
    _put("GHSA-2", popular, ranges=True)
    _find("found: all versions of the most used")
    _timed("answer: the page's first rows", lambda: _answer("GHSA-2"))
    _put("MAL-1", "malware", versions=["1.0"], withdrawn="2026-02-01T00:00:00Z")
    _find("closed: withdrawn")
    _catch_up(min(options.rows, 200_000))
    say(load())
    return 0


def _write(rows: int, live: int) -> None:
    from django.db import connection

    from portal.accounts.models import User
    from sandboxes.screening.models import Progress

    owner = User.objects.get(username="bench").pk
    sandboxes = max(rows // 50, live)
    start = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(_SANDBOXES, {"owner": owner, "live": live, "sandboxes": sandboxes})
        cursor.execute("SELECT min(id) FROM lifecycle_sandbox")
        first = cursor.fetchone()[0]
        for begin in range(1, rows + 1, _STEP):
            numbers = {"start": begin, "end": min(begin + _STEP - 1, rows)}
            cursor.execute(_INSTALLS, {"first": first, "sandboxes": sandboxes, **numbers})
        cursor.execute(_MALWARE, [2 * live])
        cursor.execute("VACUUM ANALYZE usage_install")
        cursor.execute("ANALYZE lifecycle_sandbox")
        cursor.execute("SELECT count(*), max(id), pg_relation_size('install_version') FROM usage_install")
        count, last, size = cursor.fetchone()
    Progress.objects.create(pk=1, install=last)
    seconds = time.perf_counter() - start
    say(
        f"{count} installs in {sandboxes} sandboxes, written in {seconds:.0f} s; the index takes {size >> 20} MiB"
    )


def _put(
    identity: str,
    project: str,
    *,
    versions: list[str] | None = None,
    ranges: bool = False,
    **more: Any,
) -> None:
    from portal.accounts.models import User
    from sandboxes.screening import advisories

    affected: dict[str, Any] = {"package": {"ecosystem": "PyPI", "name": project}, "versions": versions or []}
    if ranges:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    severity = {"database_specific": {"severity": "LOW"}}
    modified = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    document = {"id": identity, "modified": modified, "affected": [affected], **severity, **more}
    advisories.put(document, by=User.objects.get(username="bench"))


def _find(what: str) -> None:
    from sandboxes.screening import matching_installs, reactions

    outcome = _timed(what, lambda: matching_installs.next_changes(reactions.all_of()))
    if outcome is not None:
        say(f"{'':>36}  {len(outcome.found)} found, {len(outcome.closed)} closed")


def _answer(advisory: str) -> int:
    from portal.reports import exposure

    return len(list(exposure.lines(exposure.exposures(advisory=advisory)[:50])))


def _catch_up(number: int) -> None:
    from django.db import transaction
    from django.db.models import F

    from sandboxes.screening import matching_installs, reactions
    from sandboxes.screening.models import Progress

    Progress.objects.filter(pk=1).update(install=F("install") - number)
    start = time.perf_counter()
    more = True
    while more:
        with transaction.atomic():
            more = matching_installs.next_installs(reactions.all_of()) is not None
    seconds = time.perf_counter() - start
    say(f"{'held against what is known':>36}: {number / seconds:,.0f} installs/s")


def _timed[T](what: str, work: Callable[[], T]) -> T:
    from django.db import transaction

    start = time.perf_counter()
    with transaction.atomic():
        result = work()
    say(f"{what:>36}: {(time.perf_counter() - start) * 1000:8.0f} ms")
    return result


if __name__ == "__main__":
    sys.exit(main())
