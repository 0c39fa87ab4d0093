"""How pages say things: phases, states, moments and ledger actions in plain words. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from portal.approvals.durations import parse_duration, words
from portal.approvals.policy import APPROVED_UNNAMED

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_LONG_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))

# Word and look of each badge. The look is a shape as well as a colour (see the stylesheet).
PHASES: Final[dict[str, tuple[str, str]]] = {
    "queued": ("Queued", "wait"),
    "pending": ("Waiting", "wait"),
    "provisioning": ("Being made", "wait"),
    "probing": ("Testing the seal", "wait"),
    "ready": ("Ready", "good"),
    "hibernated": ("Asleep", "done"),
    "isolated": ("Isolated", "bad"),
    "ending": ("Ending", "wait"),
    "stuck": ("Stuck while ending", "bad"),
    "ended": ("Ended", "done"),
    "failed": ("Failed", "bad"),
}
STATES: Final[dict[str, tuple[str, str]]] = {
    "pending": ("Waiting for a decision", "wait"),
    "approved": ("Approved", "good"),
    "denied": ("Denied", "bad"),
    "withdrawn": ("Withdrawn", "done"),
}
OUTCOMES: Final[dict[str, tuple[str, str]]] = {
    "approve": ("Approved at once", "good"),
    "ask": ("An approver decides", "wait"),
    "deny": ("Denied", "bad"),
}
ROLES: Final[dict[str, str]] = {
    "employee": "Employee",
    "approver": "Approver",
    "auditor": "Auditor",
    "admin": "Admin",
}
ACTIONS: Final[dict[str, str]] = {
    "request.submitted": "Requested",
    "request.approved": "Request approved",
    "request.denied": "Request denied",
    "request.withdrawn": "Request withdrawn",
    "sandbox.queued": "Queued until there is room",
    "sandbox.pending": "Waiting for a worker to make it",
    "sandbox.provisioning": "Making the namespace and its seal",
    "sandbox.probing": "Testing the seal",
    "sandbox.probe_passed": "Probe passed: the seal holds",
    "sandbox.probe_failed": "Probe failed: the seal does not hold",
    "sandbox.probe_unusable": "Probe gave no usable result; it is run again",
    "sandbox.probe_unproven": "Probe proved nothing: its control got no answer; both are run again",
    "sandbox.ready": "Opened; the lease began",
    "sandbox.extended": "Lease extended",
    "sandbox.expiry_warned": "Warned that the lease ends soon",
    "sandbox.isolated": "Isolated",
    "sandbox.isolation_noted": "Another reason to keep it isolated",
    "sandbox.cut_off": "Cut off: nothing gets in or out, nothing runs",
    "sandbox.inventory_wanted": "Asked what is really installed",
    "sandbox.inventory_differs": "What is installed differs from what was received",
    "sandbox.honeytoken_used": "A planted credential was used",
    "sandbox.isolation_broken": "Something came back into an isolated sandbox; cut off again",
    "sandbox.hibernated": "Put to sleep",
    "sandbox.asleep": "Asleep: no pod was left",
    "sandbox.held": "Put under legal hold",
    "sandbox.hold_changed": "Legal hold changed",
    "sandbox.hold_lifted": "Legal hold lifted",
    "sandbox.repaired": "Changed by hand; put right",
    "sandbox.updated": "Brought up to date",
    "sandbox.seal_changed": "The seal was changed from outside",
    "sandbox.relabelled": "Its namespace's labels, changed by hand, put back",
    "sandbox.ending": "Access revoked; teardown began",
    "sandbox.stuck": "Stuck: the cluster does not let go of it",
    "sandbox.ended": "Gone; receipt written",
    "sandbox.failed": "Failed; what was made is gone",
    "sandbox.exposed": "An advisory speaks against what it received",
    "sandbox.evidence_taken": "Evidence downloaded",
    "exposure.found": "Sandboxes found that received what an advisory speaks against",
    "exposure.closed": "Exposures closed",
    "reactions.changed": "Reactions to exposures changed",
    "sandbox.egress_granted": "A way out granted",
    "sandbox.egress_ended": "A way out ended",
    "cluster.registered": "Cluster registered",
    "cluster.changed": "Cluster changed",
    "cluster.enabled": "Cluster takes new sandboxes again",
    "cluster.disabled": "Cluster takes no new sandboxes",
    "cluster.trusted": "Cluster trusted again",
    "cluster.distrusted": "Cluster not trusted any more",
    "cluster.checked": "Cluster checked",
    "cluster.adopted": "Another cluster taken for the one that was",
    "orphan.quarantined": "Something without an owner cut off",
    "orphan.quarantine_broken": "Something came back into what was cut off; taken away again",
    "orphan.kept": "Something without an owner is kept",
    "orphan.deletion_ordered": "Something without an owner is not waited for",
    "orphan.deleted": "Something without an owner is deleted",
    "orphan.closed": "Something without an owner is gone, or has one",
    "restore.detected": "The database is an older one than it was",
    "restore.confirmed": "Restore of the database confirmed",
    "quota.changed": "Quota changed",
    "engine.paused": "Everything paused",
    "engine.resumed": "Running again after a pause",
    "engine.deletions_stopped": "Deletions stopped",
    "engine.deletions_allowed": "Deletions allowed again",
    "alarm.raised": "Alarm raised",
    "alarm.cleared": "Alarm cleared",
    "token.issued": "API token made",
    "token.revoked": "API token revoked",
    "fetches.sealed": "Fetches sealed",
    "waiver.asked": "Waiver asked for",
    "waiver.granted": "Waiver granted",
    "waiver.refused": "Waiver refused",
    "waiver.withdrawn": "Waiver withdrawn",
    "waiver.ended": "Waiver ended",
    "waiver.break_glass": "Glass broken",
    "advisory.declared": "Advisory declared",
    "advisory.changed": "Advisory changed",
    "advisory.withdrawn": "Advisory withdrawn",
    "advisories.imported": "Advisories taken in",
    "advisories.import_failed": "Advisories could not be taken in",
    "advisories.import_interrupted": "Taking in advisories was interrupted",
    "file.released": "Held file released",
    "file.blocked": "Held file blocked",
    "file.reopened": "Decision about a file taken back",
    "scale.changed": "Scale of screening changed",
    "scale.restored": "Scale of screening back to its defaults",
    "policy.changed": "Package policy changed",
    "policy.reset": "A profile’s package policy taken away",
    "policy.listed": "Put on a list of package policy",
    "policy.unlisted": "Taken off a list of package policy",
}

ALARMS: Final[dict[str, str]] = {
    "seal_failed": "A seal does not hold",
    "seal_unproven": "A seal cannot be proven for now",
    "seal_changed": "A seal was changed from outside",
    "cluster_untrusted": "A cluster is not trusted any more",
    "cluster_down": "A cluster does not answer",
    "deletions_stopped": "Deletions are stopped",
    "index_full": "The index’s storage is full",
    "restored": "The database was restored from a copy",
    "stuck": "A teardown is stuck",
    "orphan": "Something without an owner in a cluster",
    "honeytoken": "A planted credential was used",
    "isolated": "A sandbox was isolated",
    "not_cut_off": "An isolation is not carried out",
    "listing_old": "A cluster was not seen for too long",
    "cluster_changed": "Another cluster answers in a cluster's place",
    "drift_stays": "Something does not stay as it should be",
    "break_glass": "Somebody broke the glass",
    "exposed": "Sandboxes are exposed",
    "isolation_unfounded": "A sandbox is isolated for what does not hold any more",
    "feed_old": "A feed of advisories is old",
    "rules_broken": "Patterns of yours are left out of screening",
}
PROBES: Final[dict[str, tuple[str, str]]] = {
    "holds": ("The seal holds", "good"),
    "open": ("The seal does not hold", "bad"),
    "unusable": ("The test was of no use", "wait"),
    "unproven": ("Not proven this time", "wait"),
}
# Steps whose names are not words already.
STEPS: Final[dict[str, str]] = {
    "egress-apply": "Opening a way out",
    "egress-close": "Closing a way out",
}
CAUSES: Final[dict[str, str]] = {
    "opening": "before anybody got in",
    "scheduled": "as every so often",
    "changed": "because a policy had changed",
    "waking": "before it was opened again",
    "release": "before it was released",
}


def remaining(left: timedelta) -> str:
    """The two largest units: "2 d 3 h", "9 min 41 s". `petridish.js` counts on in the same words."""
    seconds = max(0, int(left.total_seconds()))
    for index, (size, name) in enumerate(_UNITS):
        if seconds < size:
            continue
        text = f"{seconds // size} {name}"
        smaller = _UNITS[index + 1] if index + 1 < len(_UNITS) else None
        rest = seconds % size // smaller[0] if smaller else 0
        return f"{text} {rest} {smaller[1]}" if smaller and rest else text
    return "0 s"


def elapsed(length: timedelta) -> str:
    """As exactly as a step needs it: "340 ms", "2.1 s", then as `remaining`."""
    seconds = max(0.0, length.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else remaining(length)


def span(length: timedelta) -> str:
    """In the largest unit, to the nearest: "3 hours"; under a minute "a moment"."""
    seconds = abs(length.total_seconds())
    for size, name in _LONG_UNITS:
        if seconds >= size:
            number = round(seconds / size)
            return f"{number} {name}" if number == 1 else f"{number} {name}s"
    return "a moment"


def relative(moment: datetime, now: datetime) -> str:
    """ "3 hours ago", "in 2 days", "just now"; past a month, the date."""
    away = moment - now
    if abs(away) >= timedelta(days=31):
        return f"{moment:%Y-%m-%d}"
    if abs(away) < timedelta(minutes=1):
        return "just now" if away <= timedelta() else "in a moment"
    return f"in {span(away)}" if away > timedelta() else f"{span(away)} ago"


def action(name: str, data: Mapping[str, Any]) -> str:
    """A ledger action for people; one that is not listed here is shown readably, never hidden."""
    if name == "request.submitted" and data.get("kind") == "extension":
        return "More time requested"
    if name == "request.submitted" and data.get("kind") == "egress":
        return "A way out requested"
    if name in ("sandbox.egress_granted", "sandbox.egress_ended") and data.get("to"):
        return f"{ACTIONS[name]}: {data['to']}"
    if name.startswith("waiver.") and name in ACTIONS and data.get("project"):
        return f"{ACTIONS[name]}: {data['project']} {data.get('version') or '(every version)'}"
    if name in ("policy.listed", "policy.unlisted") and data.get("pattern"):
        return f"{ACTIONS[name]}: {data['pattern']} ({data.get('list')})"
    if name == "alarm.raised" and data.get("kind") in ALARMS:
        return f"Alarm: {ALARMS[data['kind']]}"
    if name == "sandbox.exposed" and data.get("advisory"):
        return f"{data['advisory']} speaks against what it received"
    if name == "sandbox.ending" and "stuck_seconds" in data:
        return "What held it let go; teardown goes on"
    return ACTIONS.get(name) or name.replace(".", " ").replace("_", " ").capitalize()


def refusal(reason: str) -> str:
    """Why the egress proxy refused, without where to ask: on a page that is the page itself."""
    said = reason.partition("; ask for it at ")[0]
    return "The seal does not let it out" if said.startswith("The seal lets this sandbox reach no ") else said


def conditions(rule: Mapping[str, Any]) -> list[str]:
    """When a rule holds, from its snapshot; an empty list means always."""
    lists = (
        ("kinds", "It is for {}"),
        ("data_classes", "The data is {}"),
        ("risks", "The profile’s risk is {}"),
        ("profiles", "The profile is {}"),
    )
    if rule.get("outcome") == "approve" and not rule.get("kinds"):
        rule = {**rule, "kinds": APPROVED_UNNAMED}  # as policy reads it
    said = [text.format(" or ".join(rule[name])) for name, text in lists if rule.get(name)]
    if rule.get("gpu") is not None:
        said.append("It has a GPU" if rule["gpu"] else "It has no GPU")
    if rule.get("max_duration"):
        said.append(f"The whole lease is at most {words(parse_duration(rule['max_duration']))}")
    if (most := rule.get("max_live")) is not None:
        said.append(
            f"The person has at most {most} live sandbox{'' if most == 1 else 'es'}, this one included"
        )
    return said
