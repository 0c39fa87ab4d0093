"""Everything that the driver ever does, once: to see that the rights it asks for are enough, and not too many."""

import contextlib
from dataclasses import replace
from typing import Any

from sandboxes.cluster import marking, observation, watching
from sandboxes.cluster.canary import load_canary, render_canary, render_control
from sandboxes.cluster.isolated import load_isolated
from sandboxes.cluster.kinds import KINDS
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import ClusterRefusedError, TemporaryError
from tests.cluster.conftest import Subject, wait_for
from tests.simulator import ROOT

_HEADS = {name: {"apiVersion": version, "kind": name} for version, name in KINDS}


def everything(subject: Subject) -> None:
    """From an empty cluster to an empty cluster. `subject.cluster` may be anybody's."""
    cluster = subject.cluster
    cluster.info()
    cluster.uid()
    cluster.closed_ranges()
    _canary(subject)
    spec, rendered, uid = subject.sealed()
    cluster.ensure_namespace(rendered.seal[0])
    cluster.update_namespace(rendered.seal[0], uid=uid)
    cluster.apply((*rendered.workspace, *rendered.access))
    _probe(subject, rendered.probe, spec.namespace)
    wait_for(lambda: cluster.workspace(spec.namespace).ready)
    with contextlib.suppress(ClusterRefusedError) if subject.simulated else contextlib.nullcontext():
        assert cluster.installed(spec.namespace)["complete"]  # in a container that runs: it is scaled below
    cluster.workspace_activity(spec.namespace)
    _observe(subject, rendered)
    _every_kind(subject, rendered)
    cluster.scale_workspace(spec.namespace, 0)
    cluster.scale_workspace(spec.namespace, 1)
    cluster.freeze(spec.namespace)
    cluster.thaw(spec.namespace)
    cluster.ways_in(spec.namespace, frozenset())
    assert cluster.policies(spec.namespace, seconds=30)[0]
    for container in cluster.containers(spec.namespace):
        with contextlib.suppress(ClusterRefusedError, TemporaryError):  # it may be on its way
            cluster.logs(spec.namespace, container, most=1000, seconds=10)
    cluster.objects(spec.namespace, ("RoleBinding", "NetworkPolicy"))
    cluster.remove_policy(spec.namespace, "allow-index", spec.sandbox_id)
    cluster.prune_policies(spec.namespace, frozenset(("deny-all",)))
    cluster.label_namespace(spec.namespace, uid, rendered.seal[0]["metadata"]["labels"])
    cluster.quarantine(spec.namespace, uid, load_isolated(ROOT / "k8s-templates"))
    _remove(subject, spec.namespace, uid, spec.sandbox_id)


def _canary(subject: Subject) -> None:
    cluster, templates = subject.cluster, load_canary(ROOT / "k8s-templates")
    given: dict[str, Any] = {"installation_id": subject.installation_id, "image": subject.image}
    objects, spec_hash = render_canary(templates, **given)
    for _ in range(2):
        wait_for(lambda: _done(lambda: cluster.make_canary(objects)))
    namespace = objects[0]["metadata"]["name"]
    cluster.canary(namespace, spec_hash)
    pod = render_control(templates, **given, name="control-1", targets=[])
    wait_for(lambda: _done(lambda: cluster.start_control(pod)))  # its quota has to be counted first
    with contextlib.suppress(TemporaryError, ClusterRefusedError):
        cluster.control(namespace, "control-1")
    cluster.delete_controls(namespace, keep="another")
    marking.write(cluster, subject.installation_id, marking.Mark(1, "mac"))
    marking.read(cluster, subject.installation_id)
    cluster.delete_canary(namespace)


def _probe(subject: Subject, objects: tuple[KubeObject, ...], namespace: str) -> None:
    cluster = subject.cluster
    cluster.start_probe(objects)
    wait_for(lambda: cluster.probe(namespace, None, lambda: objects))
    again = {**objects[0]["metadata"], "labels": {**objects[0]["metadata"]["labels"], Labels.RUN: "again"}}
    wait_for(lambda: _done(lambda: cluster.start_probe([{**objects[0], "metadata": again}])))
    cluster.delete_probe(namespace)


def _observe(subject: Subject, rendered: Rendered) -> None:
    cluster = subject.cluster
    assert not observation.inspect(cluster, rendered).drifts
    assert observation.listing(cluster, subject.installation_id).namespaces
    assert list(cluster.namespaces(subject.installation_id))
    list(watching.policy_changes(cluster, subject.installation_id, 1))


def _every_kind(subject: Subject, rendered: Rendered) -> None:
    """A profile's own documents may be of any kind that we know. The quota has no room for a claim."""
    labels, namespace = (rendered.seal[0]["metadata"][field] for field in ("labels", "name"))
    items: list[KubeObject] = []
    for name, head in _HEADS.items():
        if name == "Namespace":
            continue
        metadata = {"name": "every-kind", "namespace": namespace, "labels": labels}
        items.append({**head, "metadata": metadata, **_least(name, subject.image)})
        with contextlib.suppress(ClusterRefusedError) if "Claim" in name else contextlib.nullcontext():
            subject.cluster.apply(items[-1:])
    drifts = observation.inspect(subject.cluster, replace(rendered, workspace=tuple(items))).drifts
    assert {(drift.kind, drift.what) for drift in drifts} == {("PersistentVolumeClaim", "missing")}, drifts


def _least(kind: str, image: str) -> KubeObject:
    """The least that makes an object of a kind valid."""
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    limits = {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Mi"}
    container = {
        "name": "c",
        "image": image,
        "securityContext": context,
        "resources": {"limits": limits},
    }
    safe = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "containers": [container],
        "securityContext": safe,
        "serviceAccountName": "sandbox",
        "automountServiceAccountToken": False,
    }
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod}
    workload = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    specs: dict[str, KubeObject] = {
        "Deployment": workload,
        "StatefulSet": {**workload, "serviceName": "x"},
        "ReplicaSet": workload,
        "Job": {"suspend": True, "template": {"spec": {**pod, "restartPolicy": "Never"}}},
        "Pod": {**pod, "nodeSelector": {"there-is": "no-such-node"}},
        "Service": {"ports": [{"port": 80, "targetPort": 80}]},
        "PersistentVolumeClaim": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
        "ResourceQuota": {"hard": {"pods": "9"}},
        "LimitRange": {"limits": []},
        "NetworkPolicy": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    if kind == "RoleBinding":
        return {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "owner"}}
    return {"spec": specs[kind]} if kind in specs else {}


def _remove(subject: Subject, namespace: str, uid: str, sandbox_id: int) -> None:
    cluster = subject.cluster
    cluster.inventory(namespace)
    cluster.revoke_access(namespace)
    cluster.delete_workloads(namespace)
    cluster.blockers(namespace)
    wait_for(lambda: cluster.pods_left(namespace) == 0)
    cluster.delete_namespace(namespace, uid)
    wait_for(lambda: cluster.namespace(namespace) is None)
    for volume in cluster.volumes(subject.installation_id):
        cluster.delete_volume(volume.name, volume.uid)
    cluster.leftovers(namespace, subject.installation_id, sandbox_id)


def _done(act: Any) -> bool:
    """Whether it worked; what passes by itself is tried again."""
    try:
        act()
    except TemporaryError:
        return False
    return True
