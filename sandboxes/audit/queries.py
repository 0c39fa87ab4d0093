"""Reading the ledger, always by its number: no page costs more as it grows."""

from django.db.models import QuerySet

from sandboxes.audit.models import Entry


def after(seq: int, limit: int) -> QuerySet[Entry]:
    """Entries numbered above `seq`, oldest first."""
    return Entry.objects.filter(id__gt=seq).order_by("id")[:limit]


def newest(before: int | None, limit: int) -> QuerySet[Entry]:
    """Entries numbered below `before` (None: all), newest first."""
    entries = Entry.objects.order_by("-id")
    return (entries.filter(id__lt=before) if before is not None else entries)[:limit]


def about(subject: str) -> QuerySet[Entry]:
    """What happened to one subject, such as "sandbox:7", oldest first."""
    return Entry.objects.filter(subject=subject).order_by("id")
