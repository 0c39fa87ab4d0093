"""Looking for advisories, and what one would hit before it is declared."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.db.models import Count, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.utils import timezone

from sandboxes.errors import NotFoundError
from sandboxes.lifecycle.phases import LIVE
from sandboxes.screening import lookup, osv
from sandboxes.screening.models import Advisory, Affected
from sandboxes.screening.words import Ecosystem, normalised
from sandboxes.usage.models import Install

MOST_FOUND: Final = 2000  # by one word; nobody reads on from there


class Kind(StrEnum):
    """Which advisories to look at."""

    MALICIOUS = "malicious"
    VULNERABLE = "vulnerable"
    OURS = "ours"  # declared here
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Hit:
    """What an advisory's versions are in: installs ever, sandboxes ever, and those that live now."""

    installs: int
    sandboxes: int
    live: int
    versions: tuple[str, ...]  # that were installed, and that it affects


def search(text: str = "", kind: Kind | None = None, after: Advisory | None = None) -> QuerySet[Advisory]:
    """Malware first, then the newest. `text`: a project's whole name, an id, an alias, or how an id begins."""
    rows = Advisory.objects.order_by("-malicious", "-modified", "-id")
    if text := text.replace("\0", "").strip():
        rows = rows.filter(pk__in=_named(text))
    if kind is not None:
        rows = rows.filter(_of(kind))
    if after is not None:
        mark = (after.malicious, after.modified, after.pk)
        rows = rows.filter(TupleLessThan(Tuple("malicious", "modified", "id"), mark))
    return rows


def get(identity: str) -> Advisory:
    row = Advisory.objects.prefetch_related("affected").filter(pk=identity).first()
    if row is None:
        raise NotFoundError(f"There is no advisory {identity[:60]}.")
    return row


def hits(found: osv.Record) -> Hit:
    """As the index would match it, with every install that there ever was."""
    installs = 0
    versions: set[str] = set()
    reached = Q(pk__in=())
    for ecosystem, project in {(each.ecosystem, each.project) for each in found.affected}:
        rows = Install.objects.filter(ecosystem=ecosystem, project=project).order_by()
        counts = dict(rows.values_list("version").annotate(number=Count("id")))
        matched = [version for version in counts if _affects(found, ecosystem, project, version)]
        installs += sum(counts[version] for version in matched)
        versions.update(matched)
        reached |= Q(ecosystem=ecosystem, project=project, version__in=matched)
    boxes = Install.objects.filter(reached).order_by().values("sandbox").distinct()
    live = boxes.filter(sandbox__phase__in=LIVE)
    return Hit(installs, boxes.count(), live.count(), tuple(sorted(versions)))


def read(document: Mapping[str, Any]) -> osv.Record:
    """A draft of an advisory, before it has an id. Raises `InvalidInputError`."""
    now = timezone.now()
    return osv.read({"id": f"{osv.OWN}0-0", "modified": now.isoformat(), **document}, now)


def _affects(found: osv.Record, ecosystem: Ecosystem, project: str, version: str) -> bool:
    rows = [
        {
            "project": project,
            "versions": each.versions,
            "ranges": each.ranges,
            "id": found.id,
            "malicious": found.malicious,
            "severity": found.severity,
            "aliases": found.aliases,
        }
        for each in found.affected
        if (each.ecosystem, each.project) == (ecosystem, project)
    ]
    return bool(lookup.known(ecosystem, rows)[project].of(version))


def _named(text: str) -> list[str]:
    """Ids. Each question is answered by an index; how ids begin is asked only if nothing has the whole name."""
    projects = [Q(ecosystem=one, project=normalised(one, text)) for one in Ecosystem]
    affected = Affected.objects.filter(projects[0] | projects[1]).order_by()
    exact = set(affected.values_list("advisory_id", flat=True).distinct()[:MOST_FOUND])
    spelt = _spelt(text)
    exact |= set(Advisory.objects.filter(pk__in=spelt).order_by().values_list("pk", flat=True))
    named = Advisory.objects.filter(aliases__overlap=spelt).order_by()
    exact |= set(named.values_list("pk", flat=True)[:MOST_FOUND])
    if exact:
        return list(exact)
    begins = Q(pk__in=())
    for one in spelt:
        begins |= Q(pk__startswith=one)
    return list(Advisory.objects.filter(begins).order_by().values_list("pk", flat=True)[:MOST_FOUND])


def _spelt(text: str) -> list[str]:
    """Ids are typed in any case: databases write their own name in capitals, GitHub the rest in small letters."""
    head, dash, rest = text.partition("-")
    return list(
        dict.fromkeys(
            [text, text.upper(), f"{head.upper()}{dash}{rest}", f"{head.upper()}{dash}{rest.lower()}"]
        )
    )


def _of(kind: Kind) -> Q:
    match kind:
        case Kind.MALICIOUS:
            return Q(malicious=True, withdrawn_at=None)
        case Kind.VULNERABLE:
            return Q(malicious=False, withdrawn_at=None)
        case Kind.OURS:
            return Q(pk__startswith=osv.OWN)
        case Kind.WITHDRAWN:
            return Q(withdrawn_at__isnull=False)
