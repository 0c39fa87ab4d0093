"""Writes down what is asked for and received, before it is answered. What is not recorded is not served.

One statement, so one transaction: it finds the sandbox again (still ready, still
this token), inserts the fetch, and for a file the install. A sandbox that ended
since it was identified gives no row, and so no answer. Once a minute it also notes that
the sandbox is in use, which keeps it from being put to sleep.
"""

from dataclasses import dataclass
from enum import StrEnum

from sandboxes.index.client import Client
from sandboxes.index.database import Database
from sandboxes.index.errors import UnauthenticatedError
from sandboxes.index.identity import Visitor
from sandboxes.lifecycle.phases import Phase


class Kind(StrEnum):
    PAGE = "page"
    FILE = "file"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asked for. An empty project: the list of projects."""

    kind: Kind
    project: str = ""
    filename: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """The file whose bytes are about to leave."""

    version: str
    sha256: str
    size: int


_RECORD = """
WITH visitor AS (
    SELECT id FROM lifecycle_sandbox
    WHERE id = %(sandbox)s AND phase = %(ready)s AND index_token_digest = %(digest)s AND expires_at > now()
), asked AS (
    INSERT INTO usage_fetch (sandbox_id, at, kind, project, filename, client, user_agent)
    SELECT id, now(), %(kind)s, %(project)s, %(filename)s, %(client)s, %(user_agent)s FROM visitor
    RETURNING id
), received AS (
    INSERT INTO usage_install (sandbox_id, at, project, version, filename, sha256, size, client)
    SELECT id, now(), %(project)s, %(version)s, %(filename)s, %(sha256)s::text, %(size)s::bigint, %(client)s
    FROM visitor WHERE %(sha256)s::text IS NOT NULL
    ON CONFLICT (sandbox_id, filename, sha256) DO NOTHING
), active AS (
    UPDATE lifecycle_sandbox SET last_active_at = now()
    WHERE id = (SELECT id FROM visitor)
      AND (last_active_at IS NULL OR last_active_at < now() - interval '1 minute')
)
SELECT id FROM asked"""


class Recorder:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, visitor: Visitor, client: Client, ask: Ask, received: Received | None) -> None:
        """Returns once committed; raises `UnavailableError`, or `UnauthenticatedError` for an ended sandbox."""
        values: dict[str, str | int | None] = {
            "sandbox": visitor.sandbox,
            "ready": Phase.READY.value,
            "digest": visitor.credentials.digest,
            "kind": ask.kind.value,
            "project": ask.project,
            "filename": ask.filename,
            "client": client.name,
            "user_agent": client.user_agent,
            "version": received.version if received else None,
            "sha256": received.sha256 if received else None,
            "size": received.size if received else None,
        }
        if await self._database.row(_RECORD, values) is None:
            raise UnauthenticatedError("The sandbox has ended, or its token was replaced.")
