"""When things happen to a lease. Pages, warnings and the reconciler all ask here, so they always agree."""

from datetime import datetime, timedelta
from typing import Final

WARN_SHARE: Final = 0.1
WARN_AT_MOST: Final = timedelta(hours=24)
_BACKOFF_CAP: Final = timedelta(seconds=60)


def warn_at(expires_at: datetime, lease: timedelta) -> datetime:
    """A tenth of the lease before its end, a day at most. `expiry` asks the database the same."""
    return expires_at - min(lease * WARN_SHARE, WARN_AT_MOST)


def backoff(attempts: int, retry_after: float | None = None) -> timedelta:
    """1 s, 2 s, 4 s … up to a minute; never sooner than the cluster asked for."""
    wait = min(timedelta(seconds=2 ** min(attempts, 10)) / 2, _BACKOFF_CAP)
    return max(wait, timedelta(seconds=min(retry_after or 0.0, 600.0)))
