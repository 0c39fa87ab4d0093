"""The two statements of the index process: what they find, and that an index answers them."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from sandboxes.index.database import Database
from sandboxes.screening import lookup, queries
from sandboxes.screening.feeds import import_feed
from sandboxes.screening.models import Advisory, Affected, Verdict
from sandboxes.screening.standing import Standing
from sandboxes.screening.words import Ecosystem, Screening, Severity
from tests.sandboxes.index.conftest import committed, database_url
from tests.sandboxes.screening.documents import affected, as_zip, document

PYPI, NPM = Ecosystem.PYPI, Ecosystem.NPM
RATED = {"database_specific": {"severity": "CRITICAL"}}


@pytest.mark.django_db
def test_from_a_feed_to_an_answer(tmp_path: Any) -> None:
    import_feed(
        str(
            as_zip(
                tmp_path / "all.zip",
                document("PYSEC-1", affected("Demo", [("introduced", "0"), ("fixed", "2.0")]), **RATED),
                document("MAL-1", affected("demo", ecosystem=NPM, versions=["1.0.0"])),
                document("PYSEC-2", affected("demo", versions=["1.0"]), withdrawn="2026-01-01T00:00:00Z"),
                document("PYSEC-3", affected("other", versions=["1.0"])),
            )
        ),
        by=None,
    )
    found = queries.against(PYPI, ["demo", "clean"])
    assert set(found) == {"demo"}
    (known,) = found["demo"].of("1.0")
    assert (known.id, known.malicious, known.severity) == ("PYSEC-1", False, Severity.CRITICAL)
    assert found["demo"].of("2.0") == ()
    assert found["demo"].fixed_by("2.0", "1.0") == (known,)

    found = queries.against(NPM, ["demo"])
    assert [known.malicious for known in found["demo"].of("1.0.0")] == [True]


@pytest.mark.django_db(transaction=True)
async def test_the_index_process_reads_it(tmp_path: Any) -> None:
    source = str(as_zip(tmp_path / "all.zip", document("PYSEC-1")))
    committed(lambda: import_feed(source, by=None))
    held = {"sha256": "a" * 64, "state": Screening.HELD, "at": timezone.now()}
    committed(lambda: Verdict.objects.create(**held))
    database = Database(database_url())
    await database.open()
    try:
        given = await database.rows(lookup.ADVISORIES, {"ecosystem": PYPI.value, "projects": ["demo"]})
        verdicts = await database.rows(lookup.VERDICTS, {"files": ["a" * 64, "b" * 64]})
    finally:
        await database.close()
    assert [known.id for known in lookup.known(PYPI, given)["demo"].of("1")] == ["PYSEC-1"]
    assert lookup.standings(verdicts) == {"a" * 64: Standing({("", "", ""): Screening.HELD})}


@pytest.mark.django_db
def test_an_index_answers_both() -> None:
    _fill(20_000)
    projects = {"ecosystem": "pypi", "projects": ["project-7", "project-8"]}
    plan = _plan(lookup.ADVISORIES, projects)
    assert "affected_project" in plan
    assert "Seq Scan" not in plan
    assert "Seq Scan" not in _plan(lookup.VERDICTS, {"files": [f"{7:064}", f"{8:064}"]})


def _fill(many: int) -> None:
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO screening_advisory (id, ecosystem, modified, malicious, summary, aliases, document,"
            " source, imported_at) SELECT 'X-' || n, 'pypi', %s, false, '', '{}', '{}', 'here', %s"
            " FROM generate_series(1, %s) n",
            [now, now, many],
        )
        cursor.execute(
            "INSERT INTO screening_affected (advisory_id, ecosystem, project, versions, ranges)"
            " SELECT 'X-' || n, 'pypi', 'project-' || n, '{}', '[]' FROM generate_series(1, %s) n",
            [many],
        )
        cursor.execute(
            "INSERT INTO screening_verdict (sha256, state, reason, at)"
            " SELECT lpad(n::text, 64, '0'), 'passed', '', %s FROM generate_series(1, %s) n",
            [now, many],
        )
        cursor.execute("ANALYZE screening_advisory, screening_affected, screening_verdict")
    assert (Advisory.objects.count(), Affected.objects.count()) == (many, many)


def _plan(statement: str, values: dict[str, Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement, values)
        return "\n".join(line for (line,) in cursor.fetchall())


def test_it_needs_no_django() -> None:
    """The index process has none on its hot path."""
    code = "import sys; import sandboxes.screening.lookup; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0
