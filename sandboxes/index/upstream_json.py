"""An upstream's JSON page (PEP 691) → `Page`. Pure."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from sandboxes.index.errors import UpstreamError
from sandboxes.index.page import Page, Raw, check_count, checked_all, clean, make_page, metadata_sha256


class _Hashes(msgspec.Struct):
    sha256: str = ""


class _Entry(msgspec.Struct, rename="kebab"):
    """A file whose name, URL and hashes are of the right kind; all else is looked at later."""

    filename: str
    url: str
    hashes: _Hashes
    size: object = None
    upload_time: object = None
    requires_python: object = None
    yanked: object = False
    core_metadata: object = None
    data_dist_info_metadata: object = None
    dist_info_metadata: object = None
    provenance: object = None


class _Document(msgspec.Struct, rename="kebab"):
    files: list[_Entry]
    meta: object = None
    versions: object = None
    project_status: object = None  # PEP 792; its reason is for people


def parse_json(project: str, body: bytes, base_url: str) -> Page:
    """Raises `UpstreamError` for anything that is no page of version 1; single bad files are left out."""
    try:
        document = msgspec.json.decode(body, type=_Document)
        entries: list[_Entry | None] = list(document.files)
    except (msgspec.DecodeError, RecursionError):
        document, entries = _leniently(project, body)
    _check_version(project, document.meta)
    check_count(project, entries)
    versions = document.versions
    stated = [clean(v) for v in versions if isinstance(v, str)] if isinstance(versions, list) else []
    check_count(project, stated)
    said = document.project_status if isinstance(document.project_status, Mapping) else {}
    files = checked_all(project, [_raw(entry) if entry else None for entry in entries], base_url)
    return make_page(project, files, filter(None, stated), said.get("status"), said.get("reason"))


def _leniently(project: str, body: bytes) -> tuple[_Document, list[_Entry | None]]:
    """One bad entry, or a lone surrogate in one reason, must not hide a project; None: such an entry."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UpstreamError(f"The upstream's page of {project} is not JSON.") from error
    if not isinstance(data, dict) or not isinstance(data.get("files"), list):
        raise UpstreamError(f"The upstream's page of {project} lists no files.")
    document = _Document([], data.get("meta"), data.get("versions"), data.get("project-status"))
    return document, [_entry(each) for each in data["files"]]


def _entry(data: Any) -> _Entry | None:
    try:
        return msgspec.convert(data, _Entry)
    except msgspec.ValidationError:
        return None


def _check_version(project: str, meta: object) -> None:
    """PEP 629: a major version not known must not be read."""
    version = meta.get("api-version") if isinstance(meta, Mapping) else None
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise UpstreamError(f"The upstream's page of {project} is of API version {version!r}, not 1.")


def _raw(entry: _Entry) -> Raw:
    return Raw(
        entry.filename,
        entry.url,
        entry.hashes.sha256,
        entry.size,
        entry.upload_time,
        entry.requires_python,
        entry.yanked,
        metadata_sha256(
            entry.core_metadata,  # PEP 714's name first
            entry.data_dist_info_metadata,
            entry.dist_info_metadata,
        ),
        entry.provenance,
    )
