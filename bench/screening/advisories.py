"""Taking in advisories, and finding those that affect a file; embedded PostgreSQL, nothing shared.

    .venv/bin/python -m bench.screening.advisories [--records 250000] [--zip DUMP.zip]

The synthetic records are as long as real ones (a description, references, a range and some dozen listed
versions), three of four are malware reports of one project each, and they lie in a zip as an
ecosystem's dump does. Measured: the first import, the same again (nothing is new), and with a
hundredth of it modified. Then the lookup of the project that most is known about: from rows to an
object, the first answer for each of 1,000 versions, and an answer that is remembered. Last the same
as the index asks, by its own `Advisor` over its own connection: the first file of the project, for
which its advisories are loaded, then 1,000 files of other versions, one at a time, and the same again.
With --zip a real dump is taken in first, and its busiest project and an ordinary one are looked at too.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from bench.world import installation, load, say

if TYPE_CHECKING:  # Django's settings are read when the installation is there
    from sandboxes.index.policy.facts import Candidate

VERSIONS = [f"{major}.{minor}" for major in range(25) for minor in range(40)]
BUSY = "busy"  # the project that many records are about
_BUSY_SHARE = 500  # one record in so many


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=250_000)
    parser.add_argument("--zip", type=Path, default=None, help="an ecosystem's dump of OSV records")
    options = parser.parse_args()
    with installation():
        return run(options)


def run(options: argparse.Namespace) -> int:
    say(load())
    if options.zip is not None:
        _import("real records", options.zip)
        _import("the same again", options.zip)
        busiest, ordinary = _busiest_and_ordinary()
        _look_up(busiest)
        asyncio.run(_as_the_index(busiest))
        asyncio.run(_as_the_index(ordinary))
    with tempfile.TemporaryDirectory(prefix="petridish-bench-") as folder:
        dump = Path(folder) / "dump.zip"
        _write(dump, options.records, modified_again=False)
        _import("synthetic records", dump)
        _import("the same again", dump)
        _write(dump, options.records, modified_again=True)
        _import("one in a hundred modified", dump)
    _look_up(BUSY)
    asyncio.run(_as_the_index(BUSY))
    say(load())
    return 0


def _import(what: str, dump: Path) -> None:
    from sandboxes.screening.feeds import import_feed

    start = time.perf_counter()
    counts = import_feed(str(dump), by=None)
    seconds = time.perf_counter() - start
    say(
        f"{what:>26}: {seconds:7.2f} s   {counts.read} records, {counts.new} new, {counts.changed} changed, "
        f"{counts.unchanged} unchanged, {counts.broken} broken"
    )


def _look_up(project: str) -> None:
    from django.db import connection

    from sandboxes.screening import queries
    from sandboxes.screening.models import Affected
    from sandboxes.screening.words import Ecosystem

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE screening_affected, screening_advisory")
    ready = _timed(lambda: queries.against(Ecosystem.PYPI, [project]))
    known = queries.against(Ecosystem.PYPI, [project])[project]
    rows = Affected.objects.filter(project=project).count()
    first = _timed(lambda: [known.of(version) for version in VERSIONS]) / len(VERSIONS)
    again = _timed(lambda: [known.of(version) for version in VERSIONS]) / len(VERSIONS)
    say(
        f"  {project}: {rows} rows ready in {ready * 1000:.1f} ms; "
        f"{len(VERSIONS)} versions: {first * 1e6:.1f} µs each at first, {again * 1e6:.2f} µs when remembered"
    )


async def _as_the_index(project: str) -> None:
    """What matching adds to an answer: from the question to a candidate that knows its advisories."""
    from sandboxes.index.book import Book
    from sandboxes.index.database import Database
    from sandboxes.index.knowledge import Advisor
    from sandboxes.index.listener import Listener
    from sandboxes.screening.words import Ecosystem

    url = os.environ["DATABASE_URL"]
    database = Database(url)
    await database.open()
    book, advisor = Book(database, Listener(url)), Advisor(database)
    try:
        edition = await book.current()
        files = _files(project)

        async def asked(number: int) -> float:
            start = time.perf_counter()
            knowledge = await advisor.about(edition, Ecosystem.PYPI, project)
            knowledge.informed(files[number], "", screened=False)
            return (time.perf_counter() - start) * 1000

        loading = await asked(0)
        first = [await asked(number) for number in range(len(files))]
        again = [await asked(number) for number in range(len(files))]
    finally:
        await book.close()
        await database.close()
    say(f"  {project}, by the index: first file, with loading, {loading:.2f} ms; {_spread('others', first)}")
    say(f"  {project}, by the index: {_spread('the same files again', again)}")


def _files(project: str) -> "list[Candidate]":
    from sandboxes.index.policy.facts import Candidate
    from sandboxes.screening.words import Ecosystem

    return [
        Candidate(
            ecosystem=Ecosystem.PYPI,
            project=project,
            version=version,
            filename=f"{project}-{version}-py3-none-any.whl",
            sha256=f"{number:064x}",
            source="bench",
            built=True,
            seen_at=datetime.now(UTC),
        )
        for number, version in enumerate(VERSIONS)
    ]


def _spread(what: str, times: list[float]) -> str:
    slow = sorted(times)[len(times) * 99 // 100]
    most = f"{slow:.3f} ms at the 99th percentile, {max(times):.3f} ms at most"
    return f"{what} {statistics.median(times):.4f} ms in the median, {most}"


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _busiest_and_ordinary() -> tuple[str, str]:
    """By how many advisories are about them; one in the middle has no more than most have."""
    from django.db.models import Count

    from sandboxes.screening.models import Affected

    counted = Affected.objects.values_list("project").annotate(many=Count("id")).order_by("-many", "project")
    found = [str(project) for project, _ in counted]
    return (found[0], found[len(found) // 2]) if found else (BUSY, BUSY)


def _write(dump: Path, records: int, *, modified_again: bool) -> None:
    with zipfile.ZipFile(dump, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for record in _records(records, modified_again=modified_again):
            archive.writestr(f"{record['id']}.json", json.dumps(record))


def _records(many: int, *, modified_again: bool) -> Iterator[dict[str, object]]:
    """The same each time, but for the dates of one in a hundred."""
    random = Random(7)  # noqa: S311  nothing here is secret
    for number in range(many):
        project = BUSY if number % _BUSY_SHARE == 0 else f"project-{number}"
        listed = [f"{random.randrange(20)}.{random.randrange(40)}" for _ in range(random.randrange(30))]
        malicious = number % 4 != 0
        year = 2026 if modified_again and number % 100 == 0 else 2025
        yield {
            "schema_version": "1.6.0",
            "id": f"{'MAL' if malicious and project != BUSY else 'BENCH'}-2025-{number}",
            "modified": f"{year}-03-01T12:00:00.{number:06}Z",
            "published": "2025-01-01T12:00:00Z",
            "aliases": [f"CVE-2025-{number}"],
            "details": f"Synthetic record {number}. " + "What it says goes on for a while. " * 20,
            "references": [{"type": "WEB", "url": f"https://example.com/{number}/{n}"} for n in range(5)],
            "severity": [{"type": "CVSS_V3", "score": _vector(random)}],
            "affected": [
                {
                    "package": {"ecosystem": "PyPI", "name": project},
                    "versions": listed,
                    "ranges": [{"type": "ECOSYSTEM", "events": _events(random)}],
                }
            ],
        }


def _vector(random: Random) -> str:
    impact = [f"{metric}:{random.choice('NLH')}" for metric in "CIA"]
    reach = f"AV:{random.choice('NALP')}/AC:{random.choice('LH')}/PR:{random.choice('NLH')}/UI:N"
    return f"CVSS:3.1/{reach}/S:U/{'/'.join(impact)}"


def _events(random: Random) -> list[dict[str, str]]:
    major = random.randrange(20)
    return [
        {"introduced": f"{major}.0"},
        {"fixed": f"{major}.{random.randrange(1, 40)}.{random.randrange(9)}"},
    ]


if __name__ == "__main__":
    sys.exit(main())
