"""Bait in workspaces that a profile brings along: mounted where the standard one copies it to.

The standard workspace names the Secret itself and copies what is in it (`40-workspace.yaml`). A profile's own
documents need not know of it: each of their containers gets the files in its home, read-only, at rendering.
Home is what the container's environment calls `HOME`. Where it names none, nobody here knows which one the
image has; then the files lie in `FOLDER`, and the variables that AWS clients read say so.

What the profile mounts itself stays as it is: nothing is put where something of its own lies, nor into a mount
that cannot be written, because a node has to make the place there. A pod that names the Secret is left alone.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from sandboxes.cluster.spec import KubeObject

HOME: Final = "home"  # in `35-bait.yaml`
FOLDER: Final = "/etc/petridish-home"
VOLUME: Final = "petridish-home"
# The Secret's keys, and where in a home each belongs: as in `40-workspace.yaml`.
PLACES: Final[Mapping[str, str]] = {
    "aws-credentials": ".aws/credentials",
    "aws-config": ".aws/config",
    "ssh-key": ".ssh/id_ed25519",
    "ssh-key-public": ".ssh/id_ed25519.pub",
    "ssh-config": ".ssh/config",
    "pypirc": ".pypirc",
}
_TOPS: Final = tuple(dict.fromkeys(place.partition("/")[0] for place in PLACES.values()))
_VARIABLES: Final[Mapping[str, str]] = {
    "AWS_SHARED_CREDENTIALS_FILE": f"{FOLDER}/.aws/credentials",
    "AWS_CONFIG_FILE": f"{FOLDER}/.aws/config",
}
_UNWRITABLE: Final = frozenset(("secret", "configMap", "downwardAPI", "projected"))


def plant(item: KubeObject) -> None:
    """Puts the bait into whatever pods this object makes, if it makes any; changes it in place."""
    pod = _pod(item)
    if pod is None or any(_is_bait(volume) for volume in _listed(pod, "volumes")):
        return
    mounted = [_mount(container, pod) for container in _listed(pod, "containers")]
    if any(mounted):
        places = [{"key": key, "path": place} for key, place in PLACES.items()]
        # Optional: a workspace is worth more than its bait.
        secret = {"secretName": HOME, "optional": True, "items": places}
        _add(pod, "volumes", [{"name": VOLUME, "secret": secret}])


def _pod(item: KubeObject) -> dict[str, Any] | None:
    """The PodSpec in a Pod or in what has a template of pods."""
    spec = item.get("spec")
    if isinstance(spec, dict) and item["kind"] != "Pod":
        template = spec.get("template")
        spec = template.get("spec") if isinstance(template, dict) else None
    return spec if isinstance(spec, dict) and spec.get("containers") else None


def _mount(container: dict[str, Any], pod: dict[str, Any]) -> bool:
    """Whether there was anything to mount."""
    home = _home(container)
    mounts = list(_mounts(container, pod, home)) if home else _apart(container, pod)
    if mounts:
        _add(container, "volumeMounts", mounts)
    return bool(mounts)


def _home(container: dict[str, Any]) -> str:
    """As its environment names it; "" for none, or one that is only known inside."""
    values = [each.get("value") for each in _listed(container, "env") if each.get("name") == "HOME"]
    home = values[-1] if values else ""
    return home if isinstance(home, str) and home.startswith("/") and "$" not in home else ""


def _mounts(container: dict[str, Any], pod: dict[str, Any], home: str) -> Iterator[dict[str, Any]]:
    for top in _TOPS:
        place = PurePosixPath(home) / top
        if _is_free(place, container, pod):
            yield {"name": VOLUME, "mountPath": str(place), "subPath": top, "readOnly": True}


def _apart(container: dict[str, Any], pod: dict[str, Any]) -> list[dict[str, Any]]:
    if not _is_free(PurePosixPath(FOLDER), container, pod):
        return []
    named = {each.get("name") for each in _listed(container, "env")}
    more = [{"name": name, "value": value} for name, value in _VARIABLES.items() if name not in named]
    _add(container, "env", more)
    return [{"name": VOLUME, "mountPath": FOLDER, "readOnly": True}]


def _is_free(place: PurePosixPath, container: dict[str, Any], pod: dict[str, Any]) -> bool:
    """Nothing is mounted there or below, and what is mounted above can be written."""
    above: list[tuple[int, dict[str, Any]]] = []
    for mount in _listed(container, "volumeMounts"):
        path = PurePosixPath(str(mount.get("mountPath", "")))
        if path.is_relative_to(place):
            return False
        if place.is_relative_to(path):
            above.append((len(path.parts), mount))
    if not above:
        return True
    _, nearest = max(above, key=lambda one: one[0])
    volumes = {volume.get("name"): volume for volume in _listed(pod, "volumes")}
    kinds = volumes.get(nearest.get("name"), {}).keys()
    return not nearest.get("readOnly") and _UNWRITABLE.isdisjoint(kinds)


def _is_bait(volume: dict[str, Any]) -> bool:
    secret = volume.get("secret")
    return volume.get("name") == VOLUME or (isinstance(secret, dict) and secret.get("secretName") == HOME)


def _listed(where: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """Those of its items that are mappings; what is not is for the API server to refuse."""
    found = where.get(field)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _add(where: dict[str, Any], field: str, more: list[dict[str, Any]]) -> None:
    where[field] = [*(where.get(field) or ()), *more]
