"""Held files that nobody has decided about, and who waits for them."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from django.db.models import Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.db.models.functions import Now

from sandboxes.errors import NotFoundError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE
from sandboxes.screening.models import Verdict
from sandboxes.screening.words import Screening
from sandboxes.usage.models import Fetch

RECENT: Final = timedelta(days=30)  # whoever asked before that has given up, or something else
# What the index notes as the rule that refused: `policy.rules.Rule`, which is above us.
_RULES: Final = ("held", "screening")


def waiting(text: str = "") -> QuerySet[Verdict]:
    """What is held and nobody decided, the longest waiting first. `text`: of the file's name or the project's."""
    rows = Verdict.objects.filter(state=Screening.HELD, decision="").order_by("at", "id")
    if text := text.replace("\0", "").strip():
        rows = rows.filter(Q(project__icontains=text) | Q(filename__icontains=text) | Q(sha256=text.lower()))
    return rows


def decided() -> QuerySet[Verdict]:
    """What people decided, the newest first."""
    return Verdict.objects.exclude(decision="").select_related("decided_by").order_by("-decided_at", "id")


def in_state(state: Screening, after: Verdict | None = None) -> QuerySet[Verdict]:
    """Verdicts of a state, the newest first, from behind `after` on."""
    rows = Verdict.objects.filter(state=state).select_related("decided_by").order_by("-at", "-id")
    if after is None:
        return rows
    return rows.filter(TupleLessThan(Tuple("at", "id"), (after.at, after.pk)))


def get(verdict: str) -> Verdict:
    """By its id, which is the sha256 unless the same bytes were asked for under another name before."""
    row = Verdict.objects.select_related("decided_by").filter(pk=verdict).first()
    if row is None:
        raise NotFoundError("Screening knows no such file.")
    return row


def who_waits(files: Iterable[Verdict]) -> dict[str, list[Sandbox]]:
    """By the verdict's id, the live sandboxes that asked for it of late and did not get it, the oldest first.

    A client asks for the file itself, or reads in the project's page that it is not given; both are on record.
    """
    rows = [row for row in files if row.project]
    asked: dict[str, set[int]] = {row.pk: set() for row in rows}
    for row, sandbox in (*_by_file(rows), *_by_page(rows)):
        asked[row.pk].add(sandbox)
    boxes = Sandbox.objects.filter(pk__in=set().union(*asked.values())).select_related("owner")
    known = {box.pk: box for box in boxes}
    return {verdict: [known[number] for number in sorted(numbers)] for verdict, numbers in asked.items()}


def _by_file(rows: Sequence[Verdict]) -> list[tuple[Verdict, int]]:
    named = {(row.ecosystem, row.project, row.filename): row for row in rows}
    names = {row.filename for row in rows}
    fetches = _recent().filter(refused__in=_RULES, filename__in=names)
    found = fetches.values_list("ecosystem", "project", "filename", "sandbox_id").distinct()
    return [(named[one], box) for *name, box in found if (one := (name[0], name[1], name[2])) in named]


def _by_page(rows: Sequence[Verdict]) -> list[tuple[Verdict, int]]:
    """A page names one version that it withholds: the newest."""
    named: dict[tuple[str, str, str], list[Verdict]] = {}
    for row in rows:
        named.setdefault((row.ecosystem, row.project, row.version), []).append(row)
    fetches = _recent().filter(kind="page", project__in={row.project for row in rows}, withheld_by__in=_RULES)
    found = fetches.values_list("ecosystem", "project", "withheld", "sandbox_id").distinct()
    return [(row, box) for *name, box in found for row in named.get((name[0], name[1], name[2]), ())]


def _recent() -> QuerySet[Fetch]:
    """Of live sandboxes only, so that it costs what lives now and not what ever was."""
    return Fetch.objects.filter(sandbox__phase__in=LIVE, at__gte=Now() - RECENT).order_by()
