"""What is kept of a sandbox when it is isolated: the network policies it had, and its containers' logs.

The policies are read right before they are taken away, by one request that is not waited for long. The
logs come after the cut and apart from it: cutting off only orders the pods to stop and goes on, and
`read_logs` reads what they wrote, once as soon as they are being stopped (a node keeps the log of
the container before, until the next takes its place) and once more when nothing runs. A cluster
that does not answer holds no isolation back; what could not be read is written down with the reason.

A row of `Isolation` wants its logs from its first moment on, whatever becomes of the cutting. Only for so long once
that has come to stopping the pods (`want_logs`); until then for as long as the sandbox is isolated, less often after
a while. When the sandbox is over, or its namespace gone, what is missing is written down as missing.

Every look may be cut off and made again: a container's log is kept once, and replaced only by one that was
read later. Of each sandbox, container and look there is so much and no more: whoever is cut off may
have written for as long as they could.
"""

import json
import logging
import zlib
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from typing import Any, Final

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.keeping import POLICIES, Container
from sandboxes.errors import ClusterRefusedError, PetridishError
from sandboxes.lifecycle import clock, clusters, hints
from sandboxes.lifecycle.models import ContainerLog, Isolation, Sandbox
from sandboxes.lifecycle.phases import OVER, Phase

logger = logging.getLogger(__name__)
CONTAINERS: Final = 40  # of a sandbox whose logs are kept
BYTES: Final = 1 << 20  # of a container's log
_POLICY_BYTES: Final = 4 << 20  # of a sandbox's network policies
_WAIT: Final = 5.0  # seconds for an answer
_AT_ONCE: Final = 200  # isolations in one look
_SHARE: Final = 30.0  # seconds that one sandbox may take of it
_CLAIM: Final = timedelta(minutes=2)  # for whoever reads; then another may
_AGAIN: Final = timedelta(seconds=2)
_TRIES: Final = timedelta(minutes=10)
_SELDOM: Final = timedelta(minutes=1)  # after these, while cutting has not come to the pods
_OVER: Final = "It was over before its logs were read."

type Node = tuple[str, str]  # cluster and node


class _NoMoreError(Exception):
    """There is nothing more to be had; its text says how that came."""


def current(sandbox: Sandbox) -> Isolation:
    """Of a sandbox that is isolated. One that was so before any of this was kept has none yet."""
    found = sandbox.isolations.order_by("-id").first()
    if found is not None:
        return found
    now = clock.now()
    error = "It was isolated by a release that did not keep them."
    return Isolation.objects.create(
        sandbox=sandbox, began_at=sandbox.isolated_at or now, policies_at=now, policies_error=error
    )


# ---- policies


def keep_policies(sandbox: Sandbox, cluster: Cluster, *, last: bool = False) -> None:
    """While they are there; what was kept first counts, and a failure with `last`: they go next. Raises nothing."""
    row = current(sandbox)
    if row.policies_at is not None:
        return
    data, error = b"", ""
    try:
        found, more = cluster.policies(sandbox.namespace or "", seconds=_WAIT)
        data, left_out = _fitting(found)
        if more or left_out:
            error = (
                f"Only {len(found) - left_out} of them were kept: there are too many, or they are too long."
            )
    except Exception as failure:  # whatever a cluster sends: it is being cut off
        logger.warning("The policies of sandbox %s could not be read", sandbox.pk, exc_info=True)
        if not last:
            return
        error = _plain(failure)
    rows = Isolation.objects.filter(pk=row.pk, policies_at=None)
    rows.update(policies=data, policies_error=error, policies_at=clock.Now())


def _fitting(found: list[Any]) -> tuple[bytes, int]:
    """Those that fit, and how many do not."""
    kept, size = [], 0
    for item in found[:POLICIES]:
        size += len(json.dumps(item))
        if size > _POLICY_BYTES:
            break
        kept.append(item)
    return zlib.compress(json.dumps(kept).encode()), len(found) - len(kept)


# ---- logs


def want_logs(sandbox: Sandbox, *, anew: bool = False) -> None:
    """Now, and for a while; asked for already, only `anew`: all that ran was stopped, or something came back."""
    now = clock.now()
    rows = Isolation.objects.filter(pk=current(sandbox).pk)
    if not anew:
        rows = rows.filter(logs_until=None)
    if rows.update(logs_due_at=now, logs_until=now + _TRIES):
        hints.read_logs()


def read_logs() -> int:
    """Reads what is due; how many isolations that was. Who stays silent, node or cluster, is asked once in a look."""
    due = Isolation.objects.filter(logs_due_at__lte=clock.Now())
    silent: set[Node] = set()
    return sum(_claimed_and_read(row, silent) for row in due.order_by("logs_due_at")[:_AT_ONCE])


def _claimed_and_read(row: Isolation, silent: set[Node]) -> bool:
    """Compare-and-set on its time: whoever moves it ahead reads. Asked for anew meanwhile, it is due anew."""
    rows, claimed = Isolation.objects.filter(pk=row.pk), clock.now() + _CLAIM
    if not rows.filter(logs_due_at=row.logs_due_at).update(logs_due_at=claimed):
        return False
    row.refresh_from_db()
    sandbox = Sandbox.objects.get(pk=row.sandbox_id)
    try:
        left = list(_read(row, sandbox, silent))
        done = _stopped(row, sandbox) and not left
    except _NoMoreError as error:
        left, done = _missing(row, error), True
    except Exception as error:  # whatever a cluster sends: the next row has its turn
        logger.warning("The logs of sandbox %s could not be read", sandbox.pk, exc_info=True)
        silent.add((sandbox.cluster, ""))
        left, done = [_plain(error)], False
    late = row.logs_until is not None and clock.now() > row.logs_until
    if late and not done and not left:
        left = ["Something ran still when the logs were read last."]
    ended = done or late
    changes = {"logs_error": "\n".join(left), "logs_due_at": None if ended else clock.now() + _pause(row)}
    if rows.filter(logs_due_at=claimed).update(**changes) and ended:
        unread = "It was over, or released, before they were read."
        rows.filter(policies_at=None).update(policies_error=unread, policies_at=clock.Now())
    return True


def _pause(row: Isolation) -> timedelta:
    first = row.logs_until is not None or clock.now() < row.began_at + _TRIES
    return _AGAIN if first else _SELDOM


def _stopped(row: Isolation, sandbox: Sandbox) -> bool:
    """Whether nothing more will be written by what was isolated. Of one that ends, pods may be gone that nobody saw."""
    if sandbox.phase == Phase.ISOLATED:
        return sandbox.cut_at is not None
    return _released(sandbox) or _all_read(row)


def _all_read(row: Isolation) -> bool:
    """Every container that is known, to its end."""
    logs = list(row.logs.values_list("final", flat=True))
    return bool(logs) and all(logs)


def _released(sandbox: Sandbox) -> bool:
    return sandbox.isolated_at is None


def _missing(row: Isolation, error: _NoMoreError) -> list[str]:
    """What the last look had left, and this; nothing, if every container that is known was read to its end."""
    if _all_read(row) and not row.logs_error:
        return []
    return [*row.logs_error.splitlines(), str(error)]


def _still_there(row: Isolation, sandbox: Sandbox) -> None:
    if sandbox.phase in OVER:
        raise _NoMoreError(_OVER)
    if _released(sandbox) and row.policies_at is None:
        raise _NoMoreError("It was released before it was cut off.")


def _read(row: Isolation, sandbox: Sandbox, silent: set[Node]) -> Iterator[str]:
    """Reads all there is; what could not be read yet, a line each."""
    _still_there(row, sandbox)
    if (sandbox.cluster, "") in silent:
        yield "The cluster does not answer."
        return
    cluster = clusters.get(sandbox.cluster)
    state = cluster.namespace(sandbox.namespace or "")
    if state is None or state.uid != sandbox.namespace_uid:
        raise _NoMoreError(_OVER)
    until = monotonic() + _SHARE
    known = set(row.logs.filter(final=True).values_list("key", flat=True))
    gone = {log.key: f"{log.pod} {log.container}" for log in row.logs.filter(final=False).defer("data")}
    for number, each in enumerate(cluster.containers(state.name)):
        if number >= CONTAINERS:
            yield f"There are more than {CONTAINERS} containers; the logs of the others were not read."
            return
        gone.pop(each.key, None)
        if each.key in known or (each.running and _released(sandbox)):
            continue
        if monotonic() > until or (cluster.name, each.node) in silent:
            why = "the node does not answer, or it takes too long."
            _note(row, each, why, final=False)
            yield f"{each.pod} {each.name}: {why}"
            continue
        try:
            _keep(row, each, cluster)
        except PetridishError as error:
            silent.add((cluster.name, each.node))
            _note(row, each, error, final=False)
            yield f"{each.pod} {each.name}: {_plain(error)}"
    for name in gone.values():
        yield f"{name}: it was gone before its log was read to the end."


def _keep(row: Isolation, each: Container, cluster: Cluster) -> None:
    """The log as it is now. A refusal is final: there is nothing to be had."""
    try:
        log = cluster.logs(row.sandbox.namespace or "", each, most=BYTES, seconds=_WAIT)
    except ClusterRefusedError as error:
        _note(row, each, error, final=not each.running)
        return
    read = {
        "data": zlib.compress(log.data),
        "size": len(log.data),
        "cut_short": log.cut_short,
        "final": not each.running,
    }
    ContainerLog.objects.update_or_create(
        isolation=row, key=each.key, defaults={**_about(each), **read, "error": "", "read_at": clock.now()}
    )


def _note(row: Isolation, each: Container, error: object, *, final: bool) -> None:
    """What was read before stays, with the reason why nothing newer came."""
    said = {**_about(each), "final": final, "error": _plain(error)}
    ContainerLog.objects.update_or_create(isolation=row, key=each.key, defaults=said)


def _about(each: Container) -> dict[str, Any]:
    return {
        "pod": each.pod,
        "pod_uid": each.pod_uid,
        "node": each.node,
        "container": each.name,
        "started_at": each.started_at,
        "finished_at": each.finished_at,
        "exit_code": each.exit_code,
        "reason": _plain(each.reason)[:200],
    }


def _plain(said: object) -> str:
    """For a column of text, which holds no NUL."""
    return str(said).replace("\0", "")[:500]
