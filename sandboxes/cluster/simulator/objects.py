"""The API's rules for every kind alike: create, replace, patch, apply, delete, list.

Requests and controllers both come through here, so no rule has a second version.
"""

import base64
import copy
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sandboxes.cluster.simulator import admission, validate
from sandboxes.cluster.simulator.apply import apply, merge, track_update
from sandboxes.cluster.simulator.errors import (
    already_exists,
    bad_request,
    conflict,
    expired,
    invalid,
    not_found,
)
from sandboxes.cluster.simulator.patches import merge_patch, only_nulls, without_nulls
from sandboxes.cluster.simulator.podspec import FINISHED
from sandboxes.cluster.simulator.resources import NAMESPACES, PODS, SERVICES, Resource
from sandboxes.cluster.simulator.selectors import Selector, everything
from sandboxes.cluster.simulator.store import Listed, Row, Store

type Json = dict[str, Any]
type Change = Callable[[Json], None]

_FOREGROUND: Final = "foregroundDeletion"
_CHUNK: Final = 500  # objects read at a time for a list without pages
_MODIFIED: Final = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def timestamp(moment: float | None = None) -> str:
    """A time as the API writes it."""
    when = datetime.now(UTC) if moment is None else datetime.fromtimestamp(moment, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list is about. `by_value` are labels that the selector asks for by their value."""

    resource: Resource
    namespace: str | None
    labels: Selector
    by_value: list[tuple[str, str]]
    fields: Callable[[Json], bool] | None
    partial: bool

    def has_labels(self, item: Listed) -> bool:
        """Whether the label selector takes it."""
        return self.labels is everything or self.labels(json.loads(item.labels))

    @property
    def selecting(self) -> bool:
        """Whether anything is left out: the server cannot count what it would have to look at first."""
        return self.fields is not None or self.labels is not everything


class Objects:
    """All objects of the cluster."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # ---- reading

    def get(self, resource: Resource, namespace: str, name: str) -> Row:
        """One object, or 404."""
        row = self.store.get(resource, namespace, name)
        if row is None:
            raise not_found(resource, name)
        return row

    def page(self, wanted: Listing, *, limit: int, token: str) -> str:
        """A page, as JSON. The token names where to go on; 410 once its version left the history.

        Later pages show the present, not the snapshot of the first page.
        """
        resource, store = wanted.resource, self.store
        version, after, left = self._read_token(token) if token else (store.version, ("", ""), None)
        if left is None and limit and not wanted.selecting:
            left = store.count(resource, wanted.namespace)
        texts: list[str] = []
        metadata: Json = {"resourceVersion": str(version)}
        label = store.selective(resource, wanted.by_value) if wanted.namespace is None else None
        chunk = limit + 1 if limit else _CHUNK  # one more tells whether the page is the last
        found = store.listed(resource, wanted.namespace, after, label, partial=wanted.partial, chunk=chunk)
        for item in found:
            if not wanted.has_labels(item) or not self._has_fields(wanted, item):
                continue
            if limit and len(texts) == limit:
                rest = None if left is None else left - limit
                start = json.dumps([version, *after, rest])
                metadata["continue"] = base64.urlsafe_b64encode(start.encode()).decode()
                metadata |= {} if rest is None else {"remainingItemCount": max(rest, 1)}
                break
            texts.append(item.text)
            after = (item.namespace, item.name)
        names = ("PartialObjectMetadata", "meta.k8s.io/v1") if wanted.partial else ()
        kind, api_version = names or (resource.kind, resource.api_version)
        head = json.dumps({"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata})
        return f'{head[:-1]}, "items": [{",".join(texts)}]}}'

    def _has_fields(self, wanted: Listing, item: Listed) -> bool:
        if wanted.fields is None:
            return True
        row = self.store.get(wanted.resource, item.namespace, item.name)
        return row is not None and wanted.fields(row.data)

    def _read_token(self, token: str) -> tuple[int, tuple[str, str], int | None]:
        try:
            version, namespace, name, left = json.loads(base64.urlsafe_b64decode(token))
        except ValueError as error:
            raise bad_request("continue key is not valid") from error
        if version < self.store.oldest:
            raise expired("The provided continue parameter is too old to display a consistent list result.")
        return version, (namespace, name), left

    # ---- writing

    def create(self, resource: Resource, namespace: str, body: Json, *, manager: str) -> Json:
        """POST. 409 if the name is taken."""
        validate.check_shape(resource, namespace, body)
        item = copy.deepcopy(body)
        metadata = item["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        if self.store.get(resource, namespace, metadata.get("name", "")) is not None:
            raise already_exists(resource, metadata["name"])
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        return self._insert(resource, namespace, item, lambda new: self._track(None, new, manager))

    def apply(
        self, resource: Resource, namespace: str, name: str, body: Json, *, manager: str, force: bool
    ) -> Json:
        """PATCH with apply: create, or merge by field ownership."""
        if not manager:
            mistake = ("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
            raise invalid(resource, name, [mistake])
        validate.check_shape(resource, namespace, body)
        if body["metadata"].setdefault("name", name) != name:
            raise bad_request("the name of the object does not match the name on the URL")
        if body["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        row, now = self.store.get(resource, namespace, name), timestamp()
        if row is None:
            return self._apply_new(resource, namespace, body, manager, now)
        self._check_versions(resource, row.data, body["metadata"])
        merged = apply(row.data, body, manager=manager, force=force, now=now)
        return self._update(row, merged)

    def replace(self, resource: Resource, namespace: str, name: str, body: Json, *, manager: str) -> Json:
        """PUT."""
        validate.check_shape(resource, namespace, body)
        row = self.get(resource, namespace, name)
        self._check_versions(resource, row.data, body["metadata"])
        updated = self._with_system(row.data, copy.deepcopy(body))
        self._track(row.data, updated, manager)
        return self._update(row, updated)

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Json, *, manager: str, strategic: bool
    ) -> Json:
        """PATCH with a merge patch (RFC 7396), or one that merges keyed lists by key."""
        row = self.get(resource, namespace, name)
        self._check_versions(resource, row.data, patch.get("metadata") or {})
        merged = merge(row.data, without_nulls(patch)) if strategic else merge_patch(row.data, patch)
        updated = self._with_system(row.data, merge_patch(merged, only_nulls(patch)) if strategic else merged)
        self._track(row.data, updated, manager)
        return self._update(row, updated)

    def change_status(self, resource: Resource, namespace: str, name: str, change: Change) -> Json:
        """Only the status; ownership of status fields is not kept."""
        row = self.get(resource, namespace, name)
        old = row.data.get("status")
        status = copy.deepcopy(old or {})
        change(status)
        if status == old:
            return row.data
        return self.store.save(resource, {**row.data, "status": status})

    def change(self, row: Row, change: Change) -> Json:
        """What controllers change outside of status (finalizers, owners, node names)."""
        updated = copy.deepcopy(row.data)
        change(updated)
        return self._update(row, updated, checked=False)

    def _insert(self, resource: Resource, namespace: str, item: Json, track: Change) -> Json:
        metadata = item["metadata"]
        if resource.namespaced:
            metadata["namespace"] = namespace
        if resource.status:
            item.pop("status", None)
        _fold_string_data(item)
        track(item)
        validate.fill(resource, item)
        validate.check(resource, item)
        admission.admit(self.store, resource, item)
        metadata.update(uid=str(uuid.uuid4()), creationTimestamp=timestamp())
        if resource.counts_generations:
            metadata["generation"] = 1
        _first_status(resource, item, self.store.version)
        return self.store.save(resource, item)

    def _apply_new(self, resource: Resource, namespace: str, body: Json, manager: str, now: str) -> Json:
        if body["metadata"].get("uid"):
            wanted = body["metadata"]["uid"]
            text = (
                f"uid mismatch: the provided object specified uid {wanted}, and no existing object was found"
            )
            raise conflict(resource, body["metadata"]["name"], text)
        empty: Json = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {}}
        item = apply(empty, body, manager=manager, force=False, now=now)
        return self._insert(resource, namespace, item, lambda new: None)

    def _update(self, row: Row, updated: Json, *, checked: bool = True) -> Json:
        """Store what changed; nothing if nothing did. An object without finalizers may now go."""
        resource, old = row.resource, row.data
        if checked:
            _fold_string_data(updated)
            validate.fill(resource, updated)
            validate.check(resource, updated)
            validate.check_update(resource, old, updated)
        if updated == old:
            return old
        if resource.counts_generations and updated.get("spec") != old.get("spec"):
            updated["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        with self.store.transaction():
            saved = self.store.save(resource, updated)
            if "deletionTimestamp" in saved["metadata"] and self._may_go(resource, saved):
                saved = self.store.remove(self.get(resource, row.namespace, row.name))
        return saved

    def _track(self, old: Json | None, new: Json, manager: str) -> None:
        track_update(old, new, manager=manager or "unknown", now=timestamp())

    def _with_system(self, old: Json, new: Json) -> Json:
        """What a client may not change stays as it was."""
        for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
            new["metadata"].pop(field, None)
        for field in ("generation", "resourceVersion", "managedFields"):
            new["metadata"].pop(field, None)
        system = {key: old["metadata"][key] for key in _SYSTEM if key in old["metadata"]}
        new["metadata"].update(system)
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
        return new

    def _check_versions(self, resource: Resource, live: Json, given: Json) -> None:
        """A UID or resource version in the body is a precondition."""
        metadata = live["metadata"]
        if given.get("uid", metadata["uid"]) != metadata["uid"]:
            text = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {metadata['uid']}"
            raise conflict(resource, metadata["name"], text)
        if given.get("resourceVersion", metadata["resourceVersion"]) != metadata["resourceVersion"]:
            raise conflict(resource, metadata["name"], _MODIFIED)

    # ---- deleting

    def delete(self, resource: Resource, namespace: str, name: str, options: Json) -> tuple[Json, bool]:
        """(the last state, whether it is gone). Else it waits for grace, finalizers or contents."""
        row = self.get(resource, namespace, name)
        self._check_preconditions(row, options.get("preconditions") or {})
        with self.store.transaction():
            policy = options.get("propagationPolicy", "Background")
            if policy == "Orphan":
                self._orphan(row)
            if "deletionTimestamp" not in row.data["metadata"]:
                self._mark_deleted(row, policy, options.get("gracePeriodSeconds"))
                if self._may_go(resource, row.data):
                    return self.store.remove(row), True
                self.store.save(resource, row.data)
            elif self._may_go(resource, row.data):
                return self.store.remove(row), True
        return row.data, False

    def delete_collection(
        self, resource: Resource, namespace: str, *, keep: Callable[[Json], bool], options: Json
    ) -> list[Json]:
        """Everything that a selector finds."""
        found = [row for row in self.store.rows(resource, namespace) if keep(row.data)]
        return [self.delete(resource, row.namespace, row.name, options)[0] for row in found]

    def finish(self, row: Row) -> None:
        """The end of a graceful deletion: gone, unless a finalizer holds it."""
        if not row.data["metadata"].get("finalizers"):
            self.store.remove(row)

    def _check_preconditions(self, row: Row, wanted: Json) -> None:
        metadata = row.data["metadata"]
        for field, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if wanted.get(field) not in (None, metadata[field]):
                text = f"{word} in precondition: {wanted[field]}, {word} in object meta: {metadata[field]}"
                raise conflict(row.resource, row.name, f"Precondition failed: {text}")

    @staticmethod
    def _mark_deleted(row: Row, policy: str, grace: int | None) -> None:
        item = row.data
        metadata = item["metadata"]
        seconds = 0
        if row.resource is PODS and item["spec"].get("nodeName") and item["status"]["phase"] not in FINISHED:
            seconds = item["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
        due = datetime.now(UTC) + timedelta(seconds=seconds)
        metadata.update(deletionTimestamp=timestamp(due.timestamp()), deletionGracePeriodSeconds=seconds)
        if policy == "Foreground":
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), _FOREGROUND]
        if row.resource is NAMESPACES:
            item.setdefault("status", {})["phase"] = "Terminating"

    def _orphan(self, row: Row) -> None:
        uid = row.data["metadata"]["uid"]
        for child in self.store.dependents(uid):
            owners = child.data["metadata"]["ownerReferences"]
            child.data["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]
            self.store.save(child.resource, child.data)

    @staticmethod
    def _may_go(resource: Resource, item: Json) -> bool:
        metadata = item["metadata"]
        if metadata.get("finalizers"):
            return False
        if resource is NAMESPACES:
            return not item["spec"].get("finalizers")
        # A pod that runs is stopped by its node first.
        return resource is not PODS or not metadata.get("deletionGracePeriodSeconds")


_SYSTEM: Final = (
    *("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"),
    *("deletionGracePeriodSeconds", "generation", "resourceVersion", "managedFields"),
)


def _fold_string_data(item: Json) -> None:
    """Secrets: `stringData` is only ever written (core/v1 Secret)."""
    if item["kind"] == "Secret" and "stringData" in item:
        for key, value in item.pop("stringData").items():
            item.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _first_status(resource: Resource, item: Json, version: int) -> None:
    """What is there at once, before any controller looked."""
    if resource is NAMESPACES:
        item["status"] = {"phase": "Active"}
    elif resource is PODS:
        item["status"] = {"phase": "Pending", "qosClass": "Burstable"}
    elif resource is SERVICES:
        spec = item.setdefault("spec", {})
        if spec.get("type") != "ExternalName" and not spec.get("clusterIP"):
            spec["clusterIP"] = f"10.96.{version // 250 % 250 + 1}.{version % 250 + 1}"
        if spec.get("clusterIP"):
            spec.setdefault("clusterIPs", [spec["clusterIP"]])
    elif resource.status:
        item["status"] = {}
