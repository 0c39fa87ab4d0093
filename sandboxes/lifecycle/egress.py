"""Egress exceptions: granted with a date, carried out in the cluster, ended on their date or before.

The row is what is allowed. A host needs nothing else: the egress proxy asks the
database at every connection, so a grant or an end holds with its very commit. A
block needs its network policy `egress-ID` in the cluster, which `egress_policies` applies and
removes while the sandbox is ready. Nobody else touches those policies then, so what
`active_blocks` says and what the cluster has differ only while it is at it.

Ended, isolated and hibernated sandboxes lose their hosts at once, because the proxy
lets none but ready ones out. Of an isolated one the policies go with all others.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import Q

from sandboxes.audit.services import Actor, record
from sandboxes.cluster.spec import EgressBlock
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError
from sandboxes.lifecycle import clock, hints, ways
from sandboxes.lifecycle.models import EgressException, Sandbox
from sandboxes.lifecycle.phases import OVER, Phase
from sandboxes.lifecycle.ways import Way

if TYPE_CHECKING:
    from sandboxes.cluster.driver import Cluster

MOST: Final = (
    20  # ways out of one sandbox at a time: each block is an object, each a line somebody has to read
)
_OPEN_TO: Final = frozenset({Phase.READY, Phase.HIBERNATED})  # a way out of what is cut off makes no sense
_BATCH: Final = 200


def active_blocks(sandbox: Sandbox) -> tuple[EgressBlock, ...]:
    """The blocks whose policies the namespace should hold now.

    Of a ready sandbox that includes a block that ended and whose policy is not removed yet:
    it is ours and no drift. In any other phase what has ended or run out is never rendered again.
    """
    if sandbox.phase == Phase.ISOLATED:
        return ()
    rows = EgressException.objects.filter(sandbox=sandbox).exclude(cidr="").order_by("pk")
    if sandbox.phase == Phase.READY:
        kept = Q(ended_at=None) | Q(applied_at__isnull=False, removed_at=None)
    else:
        kept = Q(ended_at=None, until__gt=clock.Now())
    return tuple(EgressBlock(row.pk, row.cidr, row.port) for row in rows.filter(kept))


def allowed_hosts(sandbox_id: int) -> frozenset[tuple[str, int]]:
    """The hosts and ports that the egress proxy lets this sandbox reach now, if it is ready."""
    rows = EgressException.objects.filter(sandbox_id=sandbox_id, ended_at=None, until__gt=clock.Now())
    return frozenset(rows.exclude(host="").values_list("host", "port"))


def check_open_to(sandbox: Sandbox) -> datetime:
    """Until when a way out of this sandbox can be; ConflictError if it has no lease that runs."""
    if sandbox.phase not in _OPEN_TO or sandbox.expires_at is None:
        raise ConflictError(f"This sandbox is {sandbox.phase}; a way out is for one that is ready.")
    return sandbox.expires_at


def check_way(sandbox: Sandbox, way: Way) -> None:
    """Refuses a block that holds what the probe of this sandbox's seal needs to find closed.

    By the newest run that passed: one that was of no use may have tried nothing.
    """
    if not way.cidr:
        return
    probe = sandbox.probes.filter(passed=True).order_by("-id").first()
    closed = ways.closed_addresses(probe.attempts) if probe else {}
    if held := ways.closed_within(way.cidr, closed):
        raise InvalidInputError(f"{way.cidr} holds what stays closed ({held}); ask for a smaller block.")


def grant(*, sandbox_id: int, way: Way, reason: str, until: datetime, by: Actor | None) -> EgressException:
    """Allows it, in the caller's transaction, until the date or the lease's end if that is sooner."""
    with transaction.atomic():
        sandbox = _locked(sandbox_id)
        until = min(until, check_open_to(sandbox))
        check_way(sandbox, way)
        if until <= clock.now():
            raise ConflictError("The time it was asked for is over already.")
        if EgressException.objects.filter(sandbox=sandbox, ended_at=None).count() >= MOST:
            raise ConflictError(f"This sandbox has {MOST} ways out already; end one of them first.")
        granted = EgressException.objects.create(
            sandbox=sandbox,
            cidr=way.cidr,
            host=way.host,
            port=way.port,
            reason=reason,
            until=until,
            granted_at=clock.now(),
            granted_by_id=by.pk if by else None,
        )
        _soon(granted)
        _note(granted, "sandbox.egress_granted", by, {"until": until, "reason": reason})
    return granted


def end(exception_id: int, by: Actor | None, *, reason: str = "") -> EgressException:
    """Ends it now, whoever granted it; asking again changes nothing. `by` None: its date, or Petridish."""
    sandbox_id = EgressException.objects.filter(pk=exception_id).values_list("sandbox_id", flat=True).first()
    if sandbox_id is None:
        raise NotFoundError("There is no such way out.")
    with transaction.atomic():
        _locked(sandbox_id)
        ended = EgressException.objects.filter(pk=exception_id, ended_at=None).update(ended_at=clock.Now())
        row = EgressException.objects.get(pk=exception_id)
        if ended:
            _soon(row)
            told = reason or ("ended by hand" if by else "its date has come")
            _note(row, "sandbox.egress_ended", by, {"reason": told})
    return row


def end_due() -> int:
    """Ends what has run out, by the database's clock, and what a sandbox that is over had left; how many."""
    over = Q(sandbox__phase__in=OVER)
    due = EgressException.objects.filter(ended_at=None).filter(Q(until__lte=clock.Now()) | over)
    found = list(due.order_by("until").values_list("pk", "sandbox__phase")[:_BATCH])
    for exception_id, phase in found:
        end(exception_id, None, reason="its sandbox is over" if phase in OVER else "")
    return len(found)


def keep(sandbox: Sandbox, cluster: "Cluster") -> datetime | None:
    """Brings the policies of a ready sandbox in line with its exceptions; see `egress_policies`."""
    # The Kubernetes client takes a second to import: only a worker comes here, and it has it already.
    from sandboxes.lifecycle import egress_policies

    return egress_policies.keep(sandbox, cluster)


def _locked(sandbox_id: int) -> Sandbox:
    sandbox = Sandbox.objects.select_for_update(no_key=True).filter(pk=sandbox_id).first()
    if sandbox is None:
        raise NotFoundError("There is no such sandbox.")
    return sandbox


def _soon(row: EgressException) -> None:
    """A block is the worker's to carry out; of a sandbox that is over there is nothing to do."""
    if row.cidr:
        live = Sandbox.objects.filter(pk=row.sandbox_id, next_check_at__isnull=False)
        live.update(next_check_at=clock.Now())
        hints.look_at(row.sandbox_id)


def _note(row: EgressException, action: str, by: Actor | None, data: Mapping[str, object]) -> None:
    told = {"exception": row.pk, "to": str(Way(row.cidr, row.host, row.port)), **data}
    record(actor=by, action=action, subject=f"sandbox:{row.sandbox_id}", data=told)
