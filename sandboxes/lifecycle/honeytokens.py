"""Honeytokens: what is planted in a sandbox is written down first, and whoever uses it is told about.

The index process writes uses down as they come (`sandboxes.index.honey`); what follows from one happens here,
so that the index needs no more than one statement: the ledger names the sandbox it was planted in, an alarm
opens, and with HONEYTOKEN_ACTION=isolate the sandbox is isolated, with the one it was used from.

It is not isolated unless an admin says so: an owner who tries `aws s3 ls` in their own workspace would lose what
they are doing for their curiosity.
"""

from itertools import groupby
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from sandboxes.audit.services import record
from sandboxes.errors import ConflictError
from sandboxes.lifecycle import alarms, clock, isolation
from sandboxes.lifecycle.bait import Kind, baits
from sandboxes.lifecycle.models import Honeytoken, HoneytokenUse, Sandbox

ALARM: Final = "honeytoken"
ISOLATE: Final = "isolate"
_AT_ONCE: Final = 500
_WORDS: Final = {
    Kind.AWS: "AWS access key",
    Kind.SSH: "SSH key",
    Kind.PYPI: "upload token",
    Kind.PLACE: "address",
}


def plant(sandbox: Sandbox) -> None:
    """Before they are in the cluster, so that no use can come of one that nobody knows. Again: no change."""
    rows = [
        Honeytoken(sandbox=sandbox, kind=bait.kind, identifier=bait.identifier, digest=bait.digest)
        for bait in baits(sandbox.pk)
    ]
    Honeytoken.objects.bulk_create(rows, ignore_conflicts=True)


def used(sandbox: Sandbox) -> QuerySet[HoneytokenUse]:
    """Uses of what was planted in this sandbox, newest first."""
    rows = HoneytokenUse.objects.filter(token__sandbox=sandbox).select_related("token", "seen_in")
    return rows.order_by("-id")


def name_of(kind: str) -> str:
    return _WORDS[Kind(kind)]


def tell() -> int:
    """What follows from uses that nobody was told about yet; how many that were.

    First the isolations, each in a transaction of its own: one holds the ledger's lock until commit, and whoever
    waits for another sandbox with it may wait for ever. Done twice, they are the same.
    """
    found = HoneytokenUse.objects.filter(told_at=None).order_by("id")
    ids = list(found.values_list("pk", flat=True)[:_AT_ONCE])
    if not ids:
        return 0
    for group in _groups(ids):
        _react(group)
    with transaction.atomic():
        rows = HoneytokenUse.objects.filter(pk__in=ids, told_at=None).order_by("id")
        ours = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        rows.filter(pk__in=ours).update(told_at=clock.Now())
        _tell(_groups(ours))
    return len(ours)


def _groups(ids: list[int]) -> list[list[HoneytokenUse]]:
    """By the token that was used."""
    rows = HoneytokenUse.objects.filter(pk__in=ids).order_by("token_id", "id")
    uses = rows.select_related("token__sandbox__owner", "seen_in__owner")
    return [list(group) for _, group in groupby(uses, key=lambda use: use.token_id)]


def _react(uses: list[HoneytokenUse]) -> None:
    """Isolates, if that is wanted, where it was planted and where it was used."""
    if settings.HONEYTOKEN_ACTION != ISOLATE:
        return
    token = uses[0].token
    places = {token.sandbox_id, *(use.seen_in_id for use in uses if use.seen_in_id is not None)}
    for sandbox_id in sorted(places):
        try:
            isolation.isolate(sandbox_id, by=None, reason=f"A planted {name_of(token.kind)} was used.")
        except ConflictError:  # it is over, or ending: the alarm says the rest
            continue


def _tell(groups: list[list[HoneytokenUse]]) -> None:
    """The alarms, and only then the ledger."""
    alarms.change(
        alarms.Change(
            ALARM, f"sandbox:{uses[0].token.sandbox_id}", _sentence(uses[0].token, _elsewhere(uses))
        )
        for uses in groups
    )
    for uses in groups:
        _record(uses)


def _record(uses: list[HoneytokenUse]) -> None:
    token, last = uses[0].token, uses[-1]
    record(
        actor=None,
        action="sandbox.honeytoken_used",
        subject=f"sandbox:{token.sandbox_id}",
        data={
            "kind": token.kind,
            "identifier": token.identifier,
            "uses": len(uses),
            "method": last.method,
            "path": last.path,
            "user_agent": last.user_agent,
            "address": last.address,
            "from_another_sandbox": [sandbox.pk for sandbox in _elsewhere(uses)],
        },
    )


def _elsewhere(uses: list[HoneytokenUse]) -> list[Sandbox]:
    """The other sandboxes that it was used from."""
    found = {use.seen_in for use in uses if use.seen_in and use.seen_in_id != uses[0].token.sandbox_id}
    return sorted(found, key=lambda sandbox: sandbox.pk)


def _sentence(token: Honeytoken, elsewhere: list[Sandbox]) -> str:
    """ "The fake SSH key planted in alice-python-1 of alice was used." and where, if not there."""
    sandbox = token.sandbox
    told = f"The fake {name_of(token.kind)} planted in {sandbox} of {sandbox.owner.get_username()} was used"
    if not elsewhere:
        return f"{told}. Something there looks for credentials."
    others = ", ".join(f"{other} of {other.owner.get_username()}" for other in elsewhere)
    return f"{told} from another sandbox: {others}."
