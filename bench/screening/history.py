"""Years of installs, for the benchmarks of exposure: written by SQL into a table without indexes; these come back.

20,000 projects, a few of them in nearly every sandbox and most of them rarely, up to 40 versions each, fifty
files a sandbox. A sandbox's files are spread over the whole table, which no real history would do: it is the
hardest case for whatever looks at one sandbox.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

POPULAR: Final = "project-0"  # in nearly every sandbox, and most often as version 1.0
A_SANDBOX: Final = 50  # files

_SANDBOXES = """
    INSERT INTO lifecycle_sandbox (name, namespace, namespace_uid, cluster, simulated, owner_id, department,
        profile, data_class, tools, spec_hash, index_token_digest, tokens_revoked, phase, lease, end_reason,
        failure, last_error, attempts, cpu_millis, memory_mib, gpus, charged, teardown, inspect_due, observed,
        found, isolation_reason, blocker, hold_reason, next_check_at, ready_at)
    SELECT 'b-' || n, 'b-' || n, '', 'simulated', true, %(owner)s, 'bench', 'python', 'public', '[]', '', '', 0,
        CASE WHEN n <= %(past)s THEN 'ended' ELSE 'ready' END, interval '1 day', '', '', '', 0, 0, 0, 0, false,
        '{}', false, '', '[]', '', '', '', NULL, now()
    FROM generate_series(1, %(past)s + %(live)s) AS n
    RETURNING id
"""
_INSTALLS = """
    INSERT INTO usage_install (sandbox_id, at, ecosystem, project, version, filename, sha256, size, client)
    SELECT sandbox, now() - interval '1 year' * (1 - n / %(rows)s::float), 'pypi', 'project-' || project, version,
        'p' || project || '-' || version || '-py3-none-any.whl', lpad(to_hex(n), 64, '0'), 1000, 'pip 26.3'
    FROM (
        SELECT n, (%(sandboxes)s::bigint[])[1 + n %% %(number)s] AS sandbox,
               floor(20000 * power(random(), 4))::int AS project,
               '1.' || floor(40 * power(random(), 2))::int AS version
        FROM generate_series(1, %(rows)s) AS n
    ) AS drawn
"""
_KEYS = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = 'usage_install'::regclass AND contype IN ('u', 'p')
"""
_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'usage_install'"


@dataclass(frozen=True)
class Written:
    """`live`: the sandboxes that are ready, of the last ones."""

    installs: int
    sandboxes: int
    live: list[int]


def write(rows: int, *, live: int, owner: int) -> Written:
    """So many installs, held against what is known already, in a fiftieth of as many sandboxes."""
    from django.db import connection

    from sandboxes.screening.models import Progress

    past = max(rows // A_SANDBOX - live, 1)
    with connection.cursor() as cursor:
        cursor.execute(_SANDBOXES, {"owner": owner, "past": past, "live": live})
        sandboxes = sorted(number for (number,) in cursor.fetchall())
        given: dict[str, Any] = {"rows": rows, "sandboxes": sandboxes, "number": len(sandboxes)}
        with _without_indexes(cursor):
            cursor.execute(_INSTALLS, given)
        cursor.execute("VACUUM ANALYZE usage_install")
        cursor.execute("VACUUM ANALYZE lifecycle_sandbox")
        cursor.execute("SELECT count(*), max(id) FROM usage_install")
        count, last = cursor.fetchone()
    Progress.objects.update_or_create(pk=1, defaults={"install": last})
    return Written(count, len(sandboxes), sandboxes[past:])


@contextmanager
def _without_indexes(cursor: Any) -> Iterator[None]:
    """And without the look for each row's sandbox, which is there."""
    keys = _all(cursor, _KEYS)
    others = {name: how for name, how in _all(cursor, _INDEXES).items() if name not in keys}
    for name in keys:
        cursor.execute(f"ALTER TABLE usage_install DROP CONSTRAINT {name}")
    for name in others:
        cursor.execute(f"DROP INDEX {name}")
    cursor.execute("SET session_replication_role = replica")
    yield
    cursor.execute("RESET session_replication_role")
    cursor.execute("SET maintenance_work_mem = '1GB'")
    for name, definition in keys.items():
        cursor.execute(f"ALTER TABLE usage_install ADD CONSTRAINT {name} {definition}")
    for definition in others.values():
        cursor.execute(definition)
    cursor.execute("RESET maintenance_work_mem")


def _all(cursor: Any, statement: str) -> dict[str, str]:
    cursor.execute(statement)
    return dict(cursor.fetchall())
