"""An upstream's JSON page (PEP 691) → `Page`. Pure."""

import json
from collections.abc import Mapping

import msgspec

from sandboxes.index.errors import UpstreamError
from sandboxes.index.page import Page, Raw, check_count, checked_all, clean, make_page, metadata_sha256


def parse_json(project: str, body: bytes, base_url: str) -> Page:
    """Raises `UpstreamError` for anything that is no page of version 1; single bad files are left out."""
    data = _loaded(project, body)
    if not isinstance(data, dict) or not isinstance(data.get("files"), list):
        raise UpstreamError(f"The upstream's page of {project} lists no files.")
    _check_version(project, data.get("meta"))
    check_count(project, data["files"])
    versions = data.get("versions")
    stated = [clean(v) for v in versions if isinstance(v, str)] if isinstance(versions, list) else []
    check_count(project, stated)
    raws = [_raw(entry) for entry in data["files"]]
    # PEP 792 calls the key "project-status"; its reason is for people.
    status = data.get("project-status")
    said = status if isinstance(status, Mapping) else {}
    files = checked_all(project, raws, base_url)
    return make_page(project, files, filter(None, stated), said.get("status"), said.get("reason"))


def _loaded(project: str, body: bytes) -> object:
    """Python's parser takes what the fast one does not: a lone surrogate in one reason must not hide a project."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        loaded: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UpstreamError(f"The upstream's page of {project} is not JSON.") from error
    return loaded


def _check_version(project: str, meta: object) -> None:
    """PEP 629: a major version not known must not be read."""
    version = meta.get("api-version") if isinstance(meta, Mapping) else None
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise UpstreamError(f"The upstream's page of {project} is of API version {version!r}, not 1.")


def _raw(entry: object) -> Raw | None:
    if not isinstance(entry, dict):
        return None
    filename, url, hashes = entry.get("filename"), entry.get("url"), entry.get("hashes")
    if not (isinstance(filename, str) and isinstance(url, str) and isinstance(hashes, dict)):
        return None
    sha256 = hashes.get("sha256")
    return Raw(
        filename=filename,
        url=url,
        sha256=sha256 if isinstance(sha256, str) else "",
        size=entry.get("size"),
        upload_time=entry.get("upload-time"),
        requires_python=entry.get("requires-python"),
        yanked=entry.get("yanked", False),
        metadata_sha256=metadata_sha256(
            entry.get("core-metadata"),  # PEP 714's name first
            entry.get("data-dist-info-metadata"),
            entry.get("dist-info-metadata"),
        ),
        provenance=entry.get("provenance"),
    )
