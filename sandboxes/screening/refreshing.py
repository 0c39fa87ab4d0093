"""Taking in the configured feeds again and again, one at a time, and telling people when one falls behind.

Which feed is due is in its row, so a lost or doubled message changes nothing. A feed that fails keeps its
error and its old date, and is tried again when it is due; the others go on.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from django.db.models import QuerySet

from sandboxes.errors import ConflictError, PetridishError
from sandboxes.lifecycle import alarms, clock
from sandboxes.lifecycle.models import Alarm
from sandboxes.screening import queries, records
from sandboxes.screening.feeds import import_feed
from sandboxes.screening.models import Feed

ALARM: Final = "feed_old"
_MOST_SUBJECT: Final = 120  # characters, of an alarm's
logger = logging.getLogger(__name__)


def refresh(sources: Sequence[str], *, every: timedelta, longest: timedelta) -> None:
    """Takes in what is due, then raises and clears alarms. `sources`: as configured, maybe with credentials."""
    for source in sources:
        if _is_due(records.named(source), every) and not _take_in(source):
            break
    check(sources, longest)


def check(sources: Sequence[str], longest: timedelta) -> None:
    """Alarms only about feeds that are configured: nobody promised that another one would come again."""
    now = clock.now()
    names = {records.named(source) for source in sources}
    late = {feed.source: feed for feed in queries.behind(now, longest) if feed.source in names}
    for feed in late.values():
        if feed.succeeded_at is not None or feed.error:  # else its first import is under way
            alarms.alarm(ALARM, subject(feed.source), _told(feed, now))
    for open_ in _open().exclude(subject__in=[subject(name) for name in late]):
        alarms.clear(ALARM, open_.subject, by=None)


def subject(source: str) -> str:
    """As an alarm names a feed; one that is too long for that by its beginning and a digest."""
    text = f"feed:{source}"
    if len(text) <= _MOST_SUBJECT:
        return text
    return f"{text[: _MOST_SUBJECT - 17]}…{sha256(source.encode()).hexdigest()[:16]}"


def _is_due(name: str, every: timedelta) -> bool:
    attempted = Feed.objects.filter(pk=name).values_list("attempted_at", flat=True).first()
    return attempted is None or attempted + every <= clock.now()


def _take_in(source: str) -> bool:
    """False: somebody else imports just now, so that nothing else can be taken in either."""
    name = records.named(source)
    # A feed that was never here yet is a slip of the keyboard to `import_feed`; one that is configured is none.
    row, new = Feed.objects.get_or_create(pk=name, defaults={"attempted_at": clock.now()})
    try:
        import_feed(source, by=None)
    except ConflictError:
        if new:
            row.delete()  # it is as due as it was
        return False
    except PetridishError as error:
        logger.warning("%s was not taken in: %s", name, error)
    except Exception as error:  # whatever it was, the others are not to wait for a person because of it
        logger.exception("%s was not taken in", name)
        Feed.objects.filter(pk=name).update(
            attempted_at=clock.now(), error=f"It failed: {type(error).__name__}."
        )
    return True


def _told(feed: Feed, now: datetime) -> str:
    why = f" The last attempt said: {feed.error}" if feed.error else ""
    if feed.succeeded_at is None:
        return f"Advisories of {feed.source} have never been taken in.{why}"
    hours = int((now - feed.succeeded_at) / timedelta(hours=1))
    return (
        f"Advisories of {feed.source} are {hours} hours old; what became known since is not known here.{why}"
    )


def _open() -> QuerySet[Alarm]:
    return Alarm.objects.filter(kind=ALARM, cleared_at=None)
