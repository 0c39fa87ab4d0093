"""What clients ask first: versions, groups and resources."""

from typing import Any, Final

from sandboxes.cluster.simulator.resources import ALL, Resource

type Json = dict[str, Any]

VERSION: Final[Json] = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.0+petridish-simulated",
    "platform": "simulated/none",
}
_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def document(path: tuple[str, ...]) -> Json | None:
    """The document at a discovery path; None if it is not one."""
    if path == ("version",):
        return VERSION
    if path == ("api",):
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == ("apis",):
        groups = [_group(name, version) for name, version in _group_versions()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == ("api", "v1"):
        return _resources("", "v1")
    if path[:1] == ("apis",) and len(path) == 2:
        found = [_group(name, version) for name, version in _group_versions() if name == path[1]]
        return {"kind": "APIGroup", "apiVersion": "v1", **found[0]} if found else None
    if path[:1] == ("apis",) and len(path) == 3 and path[1:] in _group_versions():
        return _resources(path[1], path[2])
    return None


def _group_versions() -> list[tuple[str, ...]]:
    return sorted({(item.group, item.version) for item in ALL if item.group})


def _group(name: str, version: str) -> Json:
    entry = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}


def _resources(group: str, version: str) -> Json:
    listed = [
        entry for item in ALL if (item.group, item.version) == (group, version) for entry in _entries(item)
    ]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}


def _entries(item: Resource) -> list[Json]:
    head = {"namespaced": item.namespaced, "kind": item.kind, "singularName": item.kind.lower()}
    main = {"name": item.plural, **head, "verbs": list(_VERBS), "shortNames": list(item.short)}
    status = {"name": f"{item.plural}/status", **head, "verbs": ["get", "patch", "update"]}
    return [main, status] if item.status else [main]
