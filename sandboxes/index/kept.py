"""What is kept of a page between two looks at the upstream: its row, and what that row is still good for.

Python's pages (`projects.py`) and npm's packuments (`npm/packuments.py`) are kept alike, each in a table of
its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

FRESH: Final = 60.0  # seconds
MISSING: Final = 10.0  # seconds


class Statements:
    """For one table; its name is ours, so it can stand in the text."""

    def __init__(self, table: str) -> None:
        self.row = f"""
SELECT name, source, format, etag, digest, missing, document IS NULL AS bare, fetched_at, checked_at,
       extract(epoch FROM now() - checked_at)::float AS age
FROM {table} WHERE name = %(name)s"""  # noqa: S608
        self.document = f"""
SELECT document, digest FROM {table} WHERE name = %(name)s AND format = %(format)s"""  # noqa: S608
        self.confirm = f"""
UPDATE {table} SET checked_at = now() WHERE name = %(name)s AND digest = %(digest)s"""  # noqa: S608
        # Of a name that was never there nothing is written: made-up ones fill no table.
        self.missing = f"""
UPDATE {table} SET
    missing = true, checked_at = now(), source = '', format = %(format)s,
    document = CASE WHEN format = %(format)s THEN document END
WHERE name = %(name)s AND (%(only)s::text[] IS NULL OR source = ANY(%(only)s))
RETURNING name"""  # noqa: S608
        self.keep = f"""
INSERT INTO {table} (name, source, format, etag, document, missing, digest, fetched_at, checked_at)
VALUES (%(name)s, %(source)s, %(format)s, %(etag)s, %(document)s, false, %(digest)s, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET
    source = excluded.source, format = excluded.format, etag = excluded.etag, document = excluded.document,
    missing = false, digest = excluded.digest, fetched_at = excluded.fetched_at,
    checked_at = excluded.checked_at"""  # noqa: S608


class Asked(Protocol):
    """The upstreams that a page is asked of."""

    @property
    def offline(self) -> bool: ...
    def may_have(self, name: str, source: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Known:
    """The row of a project, without its document."""

    digest: str
    missing: bool
    ours: bool  # it is of an upstream that may have the project
    fresh: bool
    etag: str  # "" when it must not be used: another upstream's, or of an older format
    readable: bool  # there is a document that can be shown, or told from, though it may be old
    looked_at: datetime  # when the document last was all there is
    fetched_at: datetime


def known(row: Mapping[str, Any] | None, upstreams: Asked, newest: int) -> Known | None:
    """`newest`: the format that documents have now."""
    if row is None:
        return None
    # A page must not outlive the rule that another upstream alone has the project.
    ours = row["missing"] or upstreams.may_have(row["name"], row["source"])
    current, age = ours and row["format"] == newest, row["age"]
    return Known(
        digest=row["digest"],
        missing=row["missing"],
        ours=ours,
        fresh=current and (upstreams.offline or age < (MISSING if row["missing"] else FRESH)),
        etag=row["etag"] if current and not row["missing"] else "",
        readable=row["format"] == newest and not row["bare"],
        looked_at=row["fetched_at"] if row["missing"] else row["checked_at"],
        fetched_at=row["fetched_at"],
    )
