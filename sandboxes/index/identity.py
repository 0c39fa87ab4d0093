"""Who asks: HTTP basic credentials → a sandbox that is ready.

A verdict, good or bad, is remembered for `KEPT` seconds. That is only a hint:
`recorder.py` checks sandbox, phase and token again in the statement that writes
the fetch down, and without that row nothing is answered.
"""

import hmac
from dataclasses import dataclass
from time import monotonic

from sandboxes.index.credentials import Credentials, credentials_of
from sandboxes.index.database import Database
from sandboxes.index.errors import UnauthenticatedError, UnavailableError
from sandboxes.index.lookups import Lookups
from sandboxes.index.lru import Lru
from sandboxes.index.policy.waivers import Subject
from sandboxes.lifecycle.phases import Phase

KEPT = 3.0  # seconds; an ended sandbox's token must stop working within 5
RENEWAL = 1.0  # of these, in which a verdict is looked up anew, and still holds for what was made with it


@dataclass(frozen=True, slots=True)
class Visitor:
    """A ready sandbox that showed its token."""

    sandbox: int
    credentials: Credentials
    subject: Subject  # whose policy and waivers hold


class Identities:
    """Looks credentials up; raises `UnauthenticatedError` for all that are not of a ready sandbox."""

    def __init__(self, database: Database) -> None:
        self._lookups = Lookups(database, KEPT)
        # Apart, so that no number of wrong passwords takes the place of what is known to be right.
        self._let_in: Lru[Credentials, tuple[float, Visitor]] = Lru(4096)
        self._turned_away: Lru[Credentials, float] = Lru(4096)

    async def of(self, authorization: str | None) -> Visitor:
        credentials = credentials_of(authorization)
        if credentials is None:
            raise UnauthenticatedError(
                "This index needs a sandbox's name and token; use the index URL of its page."
            )
        visitor = await self._visitor(credentials)
        if visitor is None:
            raise UnauthenticatedError("The sandbox's name or token is wrong, or it has ended.")
        return visitor

    def known_until(self, visitor: Visitor) -> float:
        """Up to when, on `monotonic`'s clock, they are let in without being looked up again."""
        kept = self._let_in.get(visitor.credentials)
        return kept[0] if kept is not None and kept[1] is visitor else 0.0

    def forget(self, visitor: Visitor) -> None:
        self._let_in.drop(visitor.credentials)

    async def _visitor(self, credentials: Credentials) -> Visitor | None:
        now = monotonic()
        if now < (self._turned_away.get(credentials) or 0.0) - RENEWAL:
            return None
        kept = self._let_in.get(credentials)
        if kept is not None and now < kept[0] - RENEWAL:
            return kept[1]
        try:
            visitor = await self._look_up(credentials, known=kept is not None)
        except UnavailableError:
            if kept is not None and monotonic() < kept[0]:
                return kept[1]
            raise
        # Counted from before the look-up: what it sees may be that old.
        self._remember(credentials, visitor, now + KEPT)
        return visitor

    def _remember(self, credentials: Credentials, visitor: Visitor | None, until: float) -> None:
        if visitor is None:
            self._let_in.drop(credentials)
            self._turned_away.put(credentials, until)
        else:
            self._turned_away.drop(credentials)
            self._let_in.put(credentials, (until, visitor))

    async def _look_up(self, credentials: Credentials, *, known: bool) -> Visitor | None:
        row = await self._lookups.of(credentials.name, known=known)
        if row is None or row["phase"] != Phase.READY or not row["index_token_digest"]:
            return None
        same = hmac.compare_digest(row["index_token_digest"], credentials.digest)
        subject = Subject(row["id"], row["owner_id"], row["department"], row["profile"])
        return Visitor(row["id"], credentials, subject) if same else None
