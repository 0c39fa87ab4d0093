"""What a cluster can and cannot do for us, in plain words: before people rely on it, and whenever somebody asks.

What it says of itself is surveyed (`cluster.capabilities`), what it really does is tried out
(`trial`): only a probe that was stopped shows that somebody obeys network policies. Every line
says what was looked at, what was found, why it matters and what to do. "missing" means that no
sandbox could be opened; a "warning" costs something else. The newest report is kept in the
cluster's row, for the admins' page and for placement.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from django.conf import settings
from django.db import transaction

from sandboxes.audit.services import record
from sandboxes.cluster.capabilities import Capabilities, survey
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.platform import Platform, policy_names
from sandboxes.cluster.verdict import Outcome
from sandboxes.errors import PetridishError
from sandboxes.lifecycle import clock, clusters, identity, offers, registry, room, trial
from sandboxes.lifecycle.amounts import Resource, said
from sandboxes.lifecycle.models import RegisteredCluster

type State = Literal["ok", "warning", "missing"]

_NAMED: Final = 6
_OLDEST: Final = (1, 30)  # ValidatingAdmissionPolicy is in the API since then
_EVERYDAY: Final = "Sandboxes do without it."


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. `why` and `remedy` are for those that are not ok."""

    what: str
    state: State
    found: str
    why: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """Everything found. `usable`: a sandbox could be opened there."""

    cluster: str
    lines: tuple[Line, ...]
    runtime_classes: tuple[str, ...] | None = None  # None: not known
    gpus: Mapping[str, int] | None = None  # by resource name, of the kinds that profiles ask for

    @property
    def usable(self) -> bool:
        return all(line.state != "missing" for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "usable": self.usable}


def check(name: str) -> Report:
    """Looks at the cluster, tries it out, and keeps the report. NotFoundError if there is no such cluster.

    A seal that was seen not to hold makes the cluster untrusted, as it would with a sandbox.
    """
    row = registry.get(name)
    report, broken = _look(row)
    with transaction.atomic():
        rows = RegisteredCluster.objects.filter(pk=row.pk)
        rows.update(report=report.as_json(), reported_at=clock.Now())
        counts = {
            state: sum(line.state == state for line in report.lines) for state in ("warning", "missing")
        }
        data = {"usable": report.usable, **counts}
        record(actor=None, action="cluster.checked", subject=f"cluster:{name}", data=data)
        room.look()
    if broken:
        registry.distrust(name, reason=f"The seal of a throw-away sandbox did not hold: {broken}.")
    return report


def _look(row: RegisteredCluster) -> tuple[Report, str]:
    """The report, and how the seal was broken, "" if it was not."""
    try:
        cluster = clusters.get(row.name)
        found = survey(cluster, settings.TEMPLATES_ROOT)
    except PetridishError as error:
        return Report(row.name, (_unreachable(error),)), ""
    lines = [_reachable(found), *_identity(row, found.uid)]
    if any(line.state == "missing" for line in lines):
        return _report(row, found, lines), ""
    lines += _survey_lines(row, found)
    if any(line.state == "missing" for line in lines):
        lines.append(_not_tried())
        return _report(row, found, lines), ""
    seen = trial.run(cluster)
    lines += [_dns(cluster), *_trial_lines(found, seen)]
    broken = "; ".join(seen.verdict.reasons) if seen.sealed is False and seen.verdict else ""
    return _report(row, found, lines), broken


def _report(row: RegisteredCluster, found: Capabilities, lines: list[Line]) -> Report:
    return Report(row.name, tuple(lines), found.runtime_classes, _gpus(found))


# ---- what it says of itself


def _unreachable(error: PetridishError) -> Line:
    return Line(
        "API",
        "missing",
        str(error),
        "Nothing can be done there.",
        "Look at its address, its credentials and the way there.",
    )


def _reachable(found: Capabilities) -> Line:
    simulated = " It is simulated: nothing really runs there." if found.simulated else ""
    text = f"Kubernetes {found.version} answers, and knows us as {found.user}.{simulated}"
    major, minor = _version(found.version)
    if (major, minor) < _OLDEST:
        return Line(
            "API",
            "warning",
            text,
            f"Kubernetes before {_OLDEST[0]}.{_OLDEST[1]} lacks what keeps others from changing a seal.",
            "Upgrade the cluster.",
        )
    return Line("API", "ok", text, "Everything is done through it.")


def _version(text: str) -> tuple[int, int]:
    """ "v1.36.2+k3s1" → (1, 36); one that says nothing readable counts as new."""
    parts = text.removeprefix("v").split(".")
    try:
        return int(parts[0]), int("".join(filter(str.isdigit, parts[1])))
    except (ValueError, IndexError):
        return _OLDEST


def _identity(row: RegisteredCluster, uid: str) -> Iterator[Line]:
    if not identity.is_same(row, uid):
        yield Line(
            "Identity",
            "missing",
            f"Another cluster answers: its uid is {uid}, and was {row.uid}.",
            "What is deleted or missed there would be judged by the wrong cluster.",
            "Put the right credentials back, or say on its page that the new one is meant.",
        )


def _survey_lines(row: RegisteredCluster, found: Capabilities) -> list[Line]:
    return [
        _permissions(row, found),
        _nodes(found),
        _network_policies(found),
        _admission(found),
        *_runtime_classes(found),
        *_gpu_line(found),
        _metrics(found),
        _storage(found),
    ]


def _permissions(row: RegisteredCluster, found: Capabilities) -> Line:
    why = "Each is used in the life of a sandbox; without one, it stops there."
    if not found.missing:
        return Line("Permissions", "ok", f"All {len(found.permissions)} that we need.", why)
    named = [f"{each.verb} {each.resource}" for each in found.missing]
    return Line(
        "Permissions",
        "missing",
        f"We may not: {_listed(named)}.",
        why,
        f"Apply what “manage.py platform_manifests” prints to cluster {row.name}.",
    )


def _nodes(found: Capabilities) -> Line:
    ready = [node for node in found.nodes if node.ready and node.schedulable]
    cpu = said(Resource.CPU, int(found.allocatable.get("cpu", Decimal()) * 1000))
    memory = said(Resource.MEMORY, int(found.allocatable.get("memory", Decimal()) / 2**20))
    text = f"{len(ready)} of {len(found.nodes)} take pods, with {cpu} and {memory} in all."
    if not ready:
        return Line("Nodes", "missing", text, "Nothing can run.", "Bring a node up, or uncordon one.")
    state: State = "ok" if len(ready) == len(found.nodes) else "warning"
    return Line(
        "Nodes", state, text, "They are where sandboxes run.", "" if state == "ok" else "Look at the others."
    )


def _network_policies(found: Capabilities) -> Line:
    why = "They are the seal."
    if found.network_policies:
        return Line("Network policies", "ok", "The API knows them.", why)
    return Line("Network policies", "missing", "The API does not know them.", why, "Use another cluster.")


def _admission(found: Capabilities) -> Line:
    what, why = (
        "Admission policies",
        "Without them somebody with rights in the cluster can change a seal unseen.",
    )
    remedy = "Have the cluster's admin apply what “manage.py platform_manifests” prints."
    if not found.admission_api:
        return Line(
            what, "warning", "This cluster has no ValidatingAdmissionPolicy.", why, "Upgrade the cluster."
        )
    if found.admission is None:
        return Line(what, "warning", "We may not see whether ours are installed.", why, remedy)
    ours = [each for each in found.admission if each.installation_id == settings.INSTALLATION_ID]
    loose = [each.name for each in ours if not each.enforced or each.warnings]
    if not ours:
        return Line(what, "warning", "Ours are not installed.", why, remedy)
    if loose:
        return Line(what, "warning", f"Not enforced, or with mistakes: {_listed(loose)}.", why, remedy)
    missing = _absent(found.user, {each.name for each in ours})
    if any(name.endswith("-probe") for name in missing):
        why = (
            f"{why} An owner cannot enter the pod that tests the seal; without the probe's, somebody with rights "
            "in the cluster can, and write its testimony."
        )
    if missing:
        return Line(what, "warning", f"Not installed: {_listed(missing)}.", why, remedy)
    return Line(what, "ok", f"Ours are enforced: {_listed([each.name for each in ours])}.", why)


def _absent(user: str, installed: set[str]) -> list[str]:
    """The policies of “platform_manifests” that are not there; an older installation has fewer."""
    platform = Platform(settings.INSTALLATION_ID, settings.IMAGE_REGISTRIES, user=user)
    return [name for name in policy_names(settings.TEMPLATES_ROOT, platform) if name not in installed]


def _runtime_classes(found: Capabilities) -> Iterator[Line]:
    wanted = sorted({one.runtime_class for one in offers.profiles().values() if one.runtime_class})
    known = found.runtime_classes
    why = "Profiles that ask for a runtime class that is not there are placed elsewhere, or wait."
    if known is None:
        yield Line("Runtime classes", "warning", "We may not see them.", why, "Let us list runtimeclasses.")
        return
    text = f"There are {_listed(list(known))}." if known else "There are none."
    missing = [name for name in wanted if name not in known]
    if missing:
        remedy = f"Install {_listed(missing)}, or offer those profiles on another cluster only."
        yield Line("Runtime classes", "warning", f"{text} Missing: {_listed(missing)}.", why, remedy)
    else:
        yield Line("Runtime classes", "ok", text, _EVERYDAY if not wanted else why)


def _gpu_line(found: Capabilities) -> Iterator[Line]:
    gpus = _gpus(found)
    if there := [f"{number} of {kind}" for kind, number in gpus.items() if number]:
        yield Line("GPUs", "ok", f"There are {_listed(there)}.", "Some profiles need them.")
    wanted = [one.name for one in offers.profiles().values() if one.gpu > gpus[one.gpu_resource]]
    if wanted:
        yield Line(
            "GPUs",
            "warning",
            f"There are too few for {_listed(wanted)}.",
            "Such sandboxes are placed elsewhere, or wait.",
            "Install the device plugin of the GPUs' maker, if the nodes have any.",
        )


def _gpus(found: Capabilities) -> dict[str, int]:
    kinds = sorted({one.gpu_resource for one in offers.profiles().values()})
    return {kind: int(found.allocatable.get(kind, 0)) for kind in kinds}


def _metrics(found: Capabilities) -> Line:
    text = "The metrics API is there." if found.metrics else "There is no metrics API."
    return Line("Metrics", "ok", text, "Idleness is measured in the sandbox itself; nothing depends on it.")


def _storage(found: Capabilities) -> Line:
    classes = found.storage_classes
    if classes is None:
        return Line("Storage classes", "ok", "We may not see them.", _EVERYDAY)
    keeping = [each.name for each in classes if each.keeps]
    if keeping:
        return Line(
            "Storage classes",
            "warning",
            f"Volumes of {_listed(keeping)} outlive their claims.",
            "A profile of your own with a volume would leave data behind; the standard ones have none.",
            "Give such a profile a class that deletes.",
        )
    text = f"There are {_listed([each.name for each in classes])}." if classes else "There are none."
    return Line("Storage classes", "ok", text, _EVERYDAY)


# ---- what it does


def _dns(cluster: Cluster) -> Line:
    why = "The seal allows exactly these addresses. Without any, names do not resolve in sandboxes."
    try:
        addresses = [f"{each.address}:{each.port}" for each in cluster.dns_addresses()]
    except PetridishError as error:
        return Line("DNS", "warning", str(error), why)
    if addresses:
        return Line("DNS", "ok", f"Found at {_listed(addresses)}.", why)
    return Line(
        "DNS", "warning", "None was found.", why, "Label its service k8s-app=kube-dns in kube-system."
    )


def _not_tried() -> Line:
    return Line(
        "Trial sandbox",
        "warning",
        "Not tried, for what is missing above.",
        "Only a trial shows whether a seal holds.",
        "Put that right, and check again.",
    )


def _trial_lines(found: Capabilities, seen: trial.Seen) -> Iterator[Line]:
    trouble = " ".join(seen.trouble)
    yield _quota(seen, trouble)
    yield _images(seen, trouble)
    yield _seal(found, seen, trouble)
    if not seen.gone:
        text = "The throw-away namespace did not go." if seen.gone is False else "None was made."
        yield Line(
            "Teardown",
            "missing",
            f"{text} {trouble}".strip(),
            "No receipt is written before everything was seen gone.",
            "Look at what keeps namespaces from terminating.",
        )
    else:
        yield Line("Teardown", "ok", "The throw-away namespace was seen gone.", "It is what receipts attest.")


def _quota(seen: trial.Seen, trouble: str) -> Line:
    why = "They keep a sandbox within its size."
    if seen.quota:
        return Line("Quotas and limits", "ok", "They were in force in a throw-away namespace.", why)
    text = "They did not come into force." if seen.quota is False else f"Not seen: {trouble}"
    return Line("Quotas and limits", "missing", text, why, "Look at the cluster's controller manager.")


def _images(seen: trial.Seen, trouble: str) -> Line:
    why = "A sandbox whose image cannot be pulled, or whose pod is refused, fails."
    if seen.started:
        return Line("Images", "ok", "The smallest profile's image was there, and started.", why)
    text = seen.workspace or trouble or "It was not tried."
    return Line("Images", "missing", text, why, "See that the nodes can pull it, or set WORKSPACE_IMAGE.")


def _seal(found: Capabilities, seen: trial.Seen, trouble: str) -> Line:
    why = "Nobody gets into a sandbox whose seal was not proven."
    what = "Seal"
    if seen.sealed and seen.verdict is not None:
        tried = sum(attempt.expected == "blocked" for attempt in seen.verdict.attempts)
        pretence = " By a simulation: no real network was tried." if found.simulated else ""
        return Line(what, "ok", f"It holds: {tried} ways out were tried, and stopped.{pretence}", why)
    reasons = "; ".join(seen.verdict.reasons) if seen.verdict else trouble
    if seen.verdict is not None and seen.verdict.outcome == Outcome.OPEN:
        remedy = "Install a network plugin that enforces NetworkPolicy, egress too."
        return Line(what, "missing", f"It does not hold: {reasons}.", why, remedy)
    return Line(
        what,
        "missing",
        f"It could not be proven: {reasons or 'no pod started'}.",
        why,
        "See that the index can be reached from pods (INDEX_URL), and the API server from the canary.",
    )


def _listed(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
