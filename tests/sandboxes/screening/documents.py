"""OSV records as feeds have them, small."""

import json
import zipfile
from pathlib import Path
from typing import Any

from sandboxes.screening.words import Ecosystem

_NAMES = {Ecosystem.PYPI: "PyPI", Ecosystem.NPM: "npm"}


def affected(
    project: str = "demo",
    *ranges: list[tuple[str, str]],
    ecosystem: Ecosystem = Ecosystem.PYPI,
    versions: list[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """`ranges`: each a list of (event, version)."""
    entry: dict[str, Any] = {"package": {"ecosystem": _NAMES[ecosystem], "name": project}, **more}
    if versions is not None:
        entry["versions"] = versions
    if ranges:
        kind = "SEMVER" if ecosystem is Ecosystem.NPM else "ECOSYSTEM"
        entry["ranges"] = [{"type": kind, "events": [{event: at} for event, at in each]} for each in ranges]
    return entry


def document(identity: str = "PYSEC-2026-1", *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    entries = entries or (affected("demo", [("introduced", "0"), ("fixed", "2.0")]),)
    return {
        "schema_version": "1.6.0",
        "id": identity,
        "modified": "2026-03-01T12:00:00Z",
        "published": "2026-01-01T12:00:00Z",
        "affected": list(entries),
    } | more


def as_zip(path: Path, *documents: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, each in enumerate(documents):
            text = each if isinstance(each, str | bytes) else json.dumps(each)
            archive.writestr(f"{number:05}.json", text)
    return path
