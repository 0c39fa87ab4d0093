"""When each file was first seen, and last not there: carried from a page to the one that takes its place. Pure.

An upload time is the upstream's word, which a broken or a hostile one can set to any date. A file is
therefore taken to be no older than the last look at its page that did not find it. On a page that
is looked at for the first time nothing is known of that, and the upstream's word has to do.
"""

from datetime import UTC, datetime

from msgspec.structs import replace

from sandboxes.index.page import File, Page


def sighted(page: Page, now: datetime, former: Page | None, looked_at: datetime | None) -> Page:
    """`page`, just received, with its files' sightings.

    `former` is what was kept of the project; `looked_at` is when that was last found to be all there is
    (None: it is another upstream's, so its silence says nothing about this one).
    """
    seen = {(file.filename, file.sha256): file for file in former.files} if former else {}
    absent_at = stamp(looked_at) if looked_at is not None else ""
    now_at = stamp(now)
    same_source = former is not None and former.source == page.source
    return replace(
        page,
        files=tuple(
            _sighted(file, seen.get(_key(file)), now_at, absent_at, same_source) for file in page.files
        ),
    )


def _sighted(file: File, before: File | None, now_at: str, absent_at: str, same_source: bool) -> File:
    if before is not None:
        file = replace(file, seen_at=before.seen_at, absent_at=before.absent_at)
        if before.extracted and same_source:  # the wheel knows better than its upstream
            file = replace(file, metadata_sha256=before.metadata_sha256, extracted=True)
        return file
    return replace(file, seen_at=now_at, absent_at=absent_at)


def _key(file: File) -> tuple[str, str]:
    return file.filename, file.sha256


def stamp(moment: datetime) -> str:
    """As `page.utc` writes upload times."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
