"""A sandbox whose objects may not be what they were: looked at closely, and put right.

`keep` does nothing, and asks the cluster nothing, unless the row says that something may
have changed (`inspect_due`, set by a listing or a watch), or the sandbox would be rendered
differently by now: another DNS address, another release of the templates. Then every object
is compared with what should be there, and what differs is one of these:

- *ours to bring up to date*: what should be there changed, and nobody but us touched it. It
  is applied, and the seal proven again. The workspace is left as it was made, because
  applying another one would restart it and lose its files; `older` says what else stays.
- *repaired*: what is missing or was changed, and does not keep the sandbox in. The ledger
  says what, and who had changed it. Foreign objects of that kind are left alone.
- *the seal was changed*: a policy, a quota, the namespace's labels, a binding of somebody
  else. Nobody knows what went through meanwhile, so the sandbox is isolated, with a ledger
  entry that names the field managers, and an alarm.

What was found right is remembered by its digest, so that the next listing has nothing to say.
An isolated sandbox is kept cut off by `cutting`; here the rest of its seal is put right.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from sandboxes.audit.services import record
from sandboxes.cluster import observation
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observation import Drift, Inspection
from sandboxes.cluster.render import Rendered, Stage
from sandboxes.cluster.spec import KubeObject
from sandboxes.lifecycle import alarms, clock, honeytokens, isolation, older, specs
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import OPENED, Phase
from sandboxes.lifecycle.presence import is_gone
from sandboxes.lifecycle.steplog import step

STAYS: Final = "drift_stays"  # the alarm's kind
_ACCESS: Final = frozenset(("Role", "RoleBinding"))
_STAGES: Final[dict[str, tuple[Stage, ...]]] = {
    Phase.READY: ("seal", "workspace", "access"),
    Phase.HIBERNATED: ("seal", "access"),  # nothing runs, and how many should is for waking to say
    Phase.ISOLATED: ("seal",),
}


def keep(sandbox: Sandbox, cluster: Cluster) -> datetime | None:
    """Looks, repairs, isolates or ends; None, for it waits for nothing."""
    if sandbox.phase not in OPENED:
        return None
    rendered = specs.rendered(sandbox, cluster)
    if _is_new(sandbox, rendered):  # by what is remembered here; what another worker knew may be newer
        specs.forget_facts()
        rendered = specs.rendered(sandbox, cluster)
    if not sandbox.inspect_due and (sandbox.phase != Phase.READY or not _is_new(sandbox, rendered)):
        return None
    with step(sandbox, "inspecting"):
        if is_gone(sandbox, cluster):
            return None
        _look(sandbox, cluster, rendered)
    return None


def _look(sandbox: Sandbox, cluster: Cluster, rendered: Rendered) -> None:
    drifts, digest = _inspect(sandbox, cluster, rendered)
    broken = [drift for drift in drifts if _breaks_the_seal(sandbox, drift, rendered)]
    if broken and sandbox.phase != Phase.ISOLATED:
        _isolate(sandbox, broken)
        return
    mendable = [drift for drift in drifts if _is_mendable(drift, rendered)]
    if mendable:
        with step(sandbox, "repairing"):
            _apply(sandbox, cluster, rendered, mendable)
        left, digest = _inspect(sandbox, cluster, rendered)
        stays = [drift for drift in left if _is_mendable(drift, rendered)]
        if sandbox.phase != Phase.ISOLATED and any(_counts_as_seal(drift) for drift in stays):
            _isolate(sandbox, stays)
            return
        _tell(sandbox, mendable, stays, updated=_is_new(sandbox, rendered))
    _found_right(sandbox, rendered, digest, seal_changed=any(drift.seal for drift in mendable))


def _inspect(sandbox: Sandbox, cluster: Cluster, rendered: Rendered) -> tuple[list[Drift], str]:
    """What matters in this phase, and the digest."""
    inspection: Inspection = observation.inspect(cluster, rendered, _STAGES[sandbox.phase])
    drifts = [drift for drift in inspection.drifts if _matters(sandbox, drift)]
    return older.without_new_shape(sandbox, cluster, rendered, drifts), inspection.digest


def _matters(sandbox: Sandbox, drift: Drift) -> bool:
    if sandbox.phase == Phase.HIBERNATED:
        return not (drift.kind in _ACCESS and drift.what == "missing")  # waking opens it anew
    if sandbox.phase == Phase.ISOLATED:
        # Its secrets were taken away on purpose; foreign ways in are for `cutting` to take away.
        return drift.seal and drift.what != "foreign"
    return True


# ---- judging


def _is_new(sandbox: Sandbox, rendered: Rendered) -> bool:
    """Whether what should be there is not what was applied last: by the row, which nobody in the cluster can edit.

    What an isolated sandbox should be is never what was applied when it was open.
    """
    return sandbox.phase != Phase.ISOLATED and sandbox.spec_hash != rendered.spec_hash


def _counts_as_seal(drift: Drift) -> bool:
    """A binding that is gone lets nobody in."""
    return drift.seal and not (drift.kind in _ACCESS and drift.what == "missing")


def _breaks_the_seal(sandbox: Sandbox, drift: Drift, rendered: Rendered) -> bool:
    """Whether the seal differs, and that is not because we would make it differently now."""
    if not _counts_as_seal(drift):
        return False
    if not _is_new(sandbox, rendered) or drift.managers:
        return True
    match drift.what:
        case "changed":
            return False
        case "missing":  # new in our templates, unless it was there
            return _name(drift) in sandbox.found
        case "foreign":  # made by us, and no longer in our templates
            return drift.kind != "NetworkPolicy"


def _is_mendable(drift: Drift, rendered: Rendered) -> bool:
    """Whether applying what should be there is called for; not for a workspace that only we would make differently."""
    if drift.what == "foreign":
        return drift.kind == "NetworkPolicy"
    ours_alone = drift.what == "changed" and not drift.managers
    return not (ours_alone and _name(drift) in {_name_of(item) for item in rendered.workspace})


# ---- acting


def _apply(sandbox: Sandbox, cluster: Cluster, rendered: Rendered, drifts: Iterable[Drift]) -> None:
    """What differs, in the order of the templates; a policy that is no longer ours goes last."""
    honeytokens.plant(sandbox)  # one that was made before there were any has them from now on
    wanted = {_name(drift) for drift in drifts if drift.what != "foreign"}
    for item in (*rendered.seal, *rendered.workspace, *rendered.access):
        if _name_of(item) not in wanted:
            continue
        if item["kind"] == "Namespace":
            cluster.update_namespace(item, uid=sandbox.namespace_uid)
        else:
            cluster.apply([item])
    if any(drift.what == "foreign" for drift in drifts):
        policies = [item for item in rendered.seal if item["kind"] == "NetworkPolicy"]
        keep_these = frozenset(str(item["metadata"]["name"]) for item in policies)
        cluster.prune_policies(sandbox.namespace or "", keep_these)


def _isolate(sandbox: Sandbox, broken: list[Drift]) -> None:
    """Phase, ledger entries and the alarm, which says both; `cutting` carries it out."""
    told = _sentence(broken)
    with transaction.atomic():
        isolation.isolate(sandbox.pk, by=None, reason=f"Its seal was changed: {told}")
        data = {"objects": _listed(broken), "managers": _managers(broken)}
        record(actor=None, action="sandbox.seal_changed", subject=_subject(sandbox), data=data)
    sandbox.refresh_from_db()


def _tell(sandbox: Sandbox, mended: list[Drift], stays: list[Drift], *, updated: bool) -> None:
    """What others had changed, what we brought up to date, and what does not stay put: that is for a person."""
    ours = [drift for drift in mended if updated and not drift.managers]
    repaired = [drift for drift in mended if drift not in ours]
    with transaction.atomic():
        if stays:
            message = f"In {sandbox} this does not stay as it should be: {_sentence(stays)}"
            alarms.alarm(STAYS, _subject(sandbox), message)
        for action, drifts in (("sandbox.updated", ours), ("sandbox.repaired", repaired)):
            if drifts:
                data = {"objects": _listed(drifts), "managers": _managers(drifts)}
                record(actor=None, action=action, subject=_subject(sandbox), data=data)


def _found_right(sandbox: Sandbox, rendered: Rendered, digest: str, *, seal_changed: bool) -> None:
    """Remembers what is there. What changed since the digest was taken makes the next listing differ."""
    changes: dict[str, Any] = {"inspect_due": False, "observed": digest}
    if sandbox.phase == Phase.READY:
        changes["spec_hash"] = rendered.spec_hash
        changes["found"] = sorted(map(_name_of, (*rendered.seal, *rendered.access)))
        if seal_changed:  # by us, but proven is proven
            changes["probe_due_at"] = clock.Now()
    Sandbox.objects.filter(pk=sandbox.pk, phase=sandbox.phase).update(**changes)
    sandbox.refresh_from_db(fields=[*changes])


# ---- words


def _name(drift: Drift) -> str:
    return f"{drift.kind}/{drift.name}"


def _name_of(item: KubeObject) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def _managers(drifts: Iterable[Drift]) -> list[str]:
    return list(dict.fromkeys(manager for drift in drifts for manager in drift.managers))


def _listed(drifts: Iterable[Drift]) -> list[dict[str, Any]]:
    return [
        {
            "object": _name(drift),
            "what": drift.what,
            "detail": drift.detail,
            "managers": list(drift.managers),
        }
        for drift in drifts
    ]


def _sentence(drifts: Iterable[Drift]) -> str:
    """ "NetworkPolicy/open: foreign, by kubectl-create; …"."""
    parts = []
    for drift in drifts:
        by = f", by {', '.join(drift.managers)}" if drift.managers else ""
        parts.append(f"{_name(drift)}: {drift.what}{by}")
    return "; ".join(parts)


def _subject(sandbox: Sandbox) -> str:
    return f"sandbox:{sandbox.pk}"
