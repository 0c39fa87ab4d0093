"""Who is exposed, over millions of installs; embedded PostgreSQL, nothing shared.

    .venv/bin/python -m bench.screening.exposure [--rows 10000000] [--live 100]

Ten million rows take some 6 GB of disk while it runs, and minutes to write (see `bench.screening.history`).
`--live` sandboxes are ready; these and as many past ones have a release of their own, `malware 1.0`.

Measured, for an advisory about that release, one about one version of the project that most have, and one about
all of its versions: from the record to the exposures of live sandboxes found, which is what is urgent; the
same for past ones, which another worker does meanwhile; the first page of the API's answer with each of its
filters, the totals and the timeline, slowest of all; the first block of the CSV. Then: isolating, in their rows (what
follows on the cluster is `bench.screening.reaction`'s to measure); a withdrawal; and how many installs
a second are held against what is known when they come.
"""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from bench.screening import history
from bench.world import installation, load, say

_MALWARE: Final = """
    INSERT INTO usage_install (sandbox_id, at, ecosystem, project, version, filename, sha256, size, client)
    SELECT id, now() - interval '1 day', 'pypi', 'malware', '1.0', 'malware-1.0-py3-none-any.whl',
        repeat('f', 64), 1000, 'pip 26.3'
    FROM lifecycle_sandbox ORDER BY id DESC LIMIT %s
"""
_FILTERS: Final[list[dict[str, bool]]] = [
    {},
    {"live": True},
    {"live": False},
    {"is_open": True, "live": True},
    {"is_open": True, "live": False},
    {"is_open": False},
]
_PAGE: Final = 51


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--live", type=int, default=100)
    options = parser.parse_args()
    with installation():
        return run(options)


def run(options: argparse.Namespace) -> int:
    say(load())
    _write(options.rows, options.live)
    _put("MAL-1", "malware", versions=["1.0"])
    _find("a release of few")
    _answers("MAL-1")
    _put("GHSA-1", history.POPULAR, versions=["1.7"])
    _find("one version of the most used")
    _answers("GHSA-1")
    _put("GHSA-2", history.POPULAR, ranges=True)
    _find("all versions of the most used")
    _answers("GHSA-2")
    _act()
    _put("MAL-1", "malware", versions=["1.0"], withdrawn="2026-02-01T00:00:00Z")
    _find("withdrawn")
    _catch_up(min(options.rows, 200_000))
    say(load())
    return 0


def _write(rows: int, live: int) -> None:
    from django.db import connection
    from django.db.models import Max

    from portal.accounts.models import User
    from sandboxes.screening.models import Progress
    from sandboxes.usage.models import Install

    start = time.perf_counter()
    written = history.write(rows, live=live, owner=User.objects.get(username="bench").pk)
    with connection.cursor() as cursor:
        cursor.execute(_MALWARE, [2 * live])
        cursor.execute("SELECT pg_total_relation_size('usage_install')")
        (size,) = cursor.fetchone()
    Progress.objects.update(install=Install.objects.aggregate(last=Max("pk"))["last"])
    seconds = time.perf_counter() - start
    say(
        f"{written.installs} installs in {written.sandboxes} sandboxes, {live} of them live, written in "
        f"{seconds:.0f} s, {size >> 20} MiB with all indexes"
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
    """In the order of the worker: malware or not, the live, then the past."""
    from sandboxes.screening import matching_installs, reactions

    def live() -> Any:
        now = reactions.all_of()
        return matching_installs.next_live(now, malicious=True) or matching_installs.next_live(
            now, malicious=False
        )

    say(f"{what}:")
    for name, look in (("live", live), ("past", lambda: matching_installs.next_past(reactions.all_of()))):
        outcome = _timed(f"found, {name}", look)
        say(f"{'':>36}  {len(outcome.found)} found, {len(outcome.closed)} closed")


def _answers(advisory: str) -> None:
    from portal.reports import exposure

    row = exposure.advisory_of(advisory)
    slowest = max(
        (_seconds(partial(_page, advisory, **each)), ", ".join(f"{k}={v}" for k, v in each.items()) or "all")
        for each in _FILTERS
    )
    say(f"{'first page, slowest filter':>36}: {slowest[0] * 1000:8.0f} ms ({slowest[1]})")
    _timed("totals", lambda: exposure.totals(row))
    _timed("timeline", lambda: exposure.timeline(row))
    rows = exposure.exposures(advisory=advisory)
    _timed("first block of the CSV", lambda: next(iter(exposure.download(rows, "exposures.csv"))))


def _page(advisory: str, **filters: bool) -> int:
    from portal.reports import exposure

    return len(list(exposure.lines(exposure.exposures(advisory=advisory, **filters)[:_PAGE])))


def _act() -> None:
    from sandboxes.lifecycle.models import Sandbox
    from sandboxes.lifecycle.phases import Phase
    from sandboxes.screening import exposures

    seconds = _seconds(exposures.expose)
    isolated = Sandbox.objects.filter(phase=Phase.ISOLATED).count()
    say(f"all live ones acted on, {isolated} isolated in their rows: {seconds:.1f} s")


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


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
