"""Whose a namespace is: what its labels say, and what the row knows.

Labels can be taken off or edited by whoever may change namespaces, and then the driver
destroys nothing in it and cuts nothing off, because nothing there says that it is ours. The
UID that the row wrote down when it was made says so all the same: no other namespace ever
has it. So the labels are put back first, by a request that the cluster refuses for any other
UID, and then everything goes on as usual. A namespace with another UID, or without our
labels where the row knows no UID, is never touched.
"""

from typing import Final

from django.conf import settings
from django.db import transaction

from sandboxes.audit.services import record
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import Labels, NamespaceState
from sandboxes.lifecycle.models import Sandbox

# Admission policies match by our label, and refuse a namespace that has it without Pod Security.
_RESTRICTED: Final = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


def is_labelled(sandbox: Sandbox, state: NamespaceState) -> bool:
    """Whether its labels say that it is this sandbox's."""
    return _own(sandbox).items() <= state.labels.items()


def put_labels_back(sandbox: Sandbox, cluster: Cluster, state: NamespaceState) -> None:
    """If it is the very namespace that was made for this sandbox, it says so afterwards; any other is left alone."""
    if is_labelled(sandbox, state) or not state.uid or state.uid != sandbox.namespace_uid:
        return
    cluster.label_namespace(state.name, state.uid, {**_RESTRICTED, **_own(sandbox)})
    data = {
        "namespace": state.name,
        "uid": state.uid,
        "found": {label: state.labels.get(label) for label in _own(sandbox)},
    }
    with transaction.atomic():
        record(actor=None, action="sandbox.relabelled", subject=f"sandbox:{sandbox.pk}", data=data)


def _own(sandbox: Sandbox) -> dict[str, str]:
    return {Labels.SANDBOX: str(sandbox.pk), Labels.INSTALLATION: settings.INSTALLATION_ID}
