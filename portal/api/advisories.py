"""/advisories: what is known to be bad, as OSV records. Admins put records here, one or many."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.http import HttpResponse
from ninja import Body, Query, Router, Status
from ninja import Schema as Output

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Page, Text, link_next
from portal.approvals import advisories
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.screening import searching
from sandboxes.screening.models import Advisory
from sandboxes.screening.words import Severity

router = Router(tags=["advisories"])
see = Bearer(Permission.REQUEST_SANDBOX)
manage = Bearer(Permission.MANAGE)
type Json = dict[str, Any]


class AdvisoryKind(StrEnum):
    """`ours`: declared here."""

    MALICIOUS = "malicious"
    VULNERABLE = "vulnerable"
    OURS = "ours"
    WITHDRAWN = "withdrawn"


class AdvisorySeverity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class AdvisoryFilter(Page):
    """`q`: a project's whole name, an id, an alias, or how an id begins.

    `after`: the id that the page before ended with.
    """

    q: Text = ""
    kind: AdvisoryKind | None = None
    after: Text = ""


class AffectedOut(Output):
    """`ranges` are lists of [event, version], as OSV has them."""

    ecosystem: Ecosystem
    project: str
    versions: list[str]
    ranges: list[list[list[str]]]


class AdvisoryOut(Output):
    """`severity` null: nobody rated it, and it counts as high. `affected`: of what is served here."""

    id: str
    malicious: bool
    severity: AdvisorySeverity | None
    summary: str
    aliases: list[str]
    affected: list[AffectedOut]
    published: datetime | None
    modified: datetime
    withdrawn_at: datetime | None
    source: str
    imported_at: datetime


class AdvisoryRecordOut(AdvisoryOut):
    """With the OSV record itself."""

    record: dict[str, Any]


class PutOut(Output):
    """What became of one record: its `id`, or also why it was not taken, as a problem's `code` and `detail`."""

    id: str
    code: str = ""
    error: str = ""


@router.get("", auth=see, response=list[AdvisoryOut])
def list_advisories(
    request: ApiRequest, page: Query[AdvisoryFilter], response: HttpResponse
) -> list[AdvisoryOut]:
    """Malware first, then the newest."""
    kind = searching.Kind(page.kind) if page.kind else None
    after = searching.get(page.after) if page.after else None
    rows = searching.search(page.q, kind, after).defer("document").prefetch_related("affected")
    found = list(rows[: page.limit + 1])
    if len(found) > page.limit:
        found.pop()
        link_next(request, response, after=found[-1].pk)
    return [AdvisoryOut(**_fields(row)) for row in found]


@router.post("", auth=manage, response={201: AdvisoryOut, 200: list[PutOut]})
def put_advisories(
    request: ApiRequest, payload: Body[Json | list[Json]], response: HttpResponse
) -> Status[AdvisoryOut] | Status[list[PutOut]]:
    """One OSV record, or a list of up to 100, of which each is taken or not by itself.

    A record without an `id` is one of our own, malicious if its `database_specific` says `"malicious": true`;
    with the id of one that is here it changes that one.
    """
    if isinstance(payload, list):
        return Status(200, [_answered(one) for one in advisories.put_all(by=request.auth, records=payload)])
    made = advisories.put(by=request.auth, record=payload)
    response["Location"] = f"{request.path}/{made.pk}"
    return Status(201, AdvisoryOut(**_fields(made)))


@router.get("/{str:advisory_id}", auth=see, response=AdvisoryRecordOut)
def read_advisory(request: ApiRequest, advisory_id: str) -> AdvisoryRecordOut:
    row = searching.get(advisory_id)
    return AdvisoryRecordOut(**_fields(row), record=row.document)


def _answered(one: advisories.Answer) -> PutOut:
    if one.error is None:
        return PutOut(id=one.id)
    return PutOut(id=one.id, code=one.error.code, error=str(one.error))


def _fields(row: Advisory) -> dict[str, Any]:
    severity = AdvisorySeverity[Severity(row.severity).name] if row.severity is not None else None
    return {
        "id": row.pk,
        "malicious": row.malicious,
        "severity": severity,
        "summary": row.summary,
        "aliases": row.aliases,
        "affected": list(_affected(row)),
        "published": row.published,
        "modified": row.modified,
        "withdrawn_at": row.withdrawn_at,
        "source": row.source,
        "imported_at": row.imported_at,
    }


def _affected(row: Advisory) -> Iterable[AffectedOut]:
    for each in row.affected.all():
        yield AffectedOut(
            ecosystem=Ecosystem(each.ecosystem),
            project=each.project,
            versions=each.versions,
            ranges=each.ranges,
        )
