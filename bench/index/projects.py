"""Projects that nobody has to store: a name says what their page and their file are.

``pN-K`` has a page of N files, none of which can be fetched; ``fN-K`` has one wheel of N bytes, and a source
distribution beside it. K only makes it another project. They are old, so no cooldown holds them back.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_NAME = re.compile(r"([pf])([0-9]+)-([a-z0-9]+)")


def page_of(project: str) -> bytes | None:
    """JSON (PEP 691); None: the name is none of these."""
    match = _NAME.fullmatch(project)
    if match is None:
        return None
    if match[1] == "p":
        return document(project, listed(project, int(match[2])))
    wheel, data = filename(project), content(project)
    sdist = entry(project, wheel.replace("-py3-none-any.whl", ".tar.gz"), "1" * 64, 1000)
    return document(project, [entry(project, wheel, hashlib.sha256(data).hexdigest(), len(data)), sdist])


@lru_cache(maxsize=100)
def content(project: str) -> bytes:
    """Of the one wheel of ``fN-K``: the same each time, and like no other's. No zip: only installers would mind."""
    match = _NAME.fullmatch(project)
    if match is None or match[1] != "f":
        raise KeyError(project)
    return random.Random(project).randbytes(int(match[2]))  # noqa: S311 -- no secret


def filename(project: str) -> str:
    """Of that wheel."""
    return f"{project.replace('-', '_')}-1.0-py3-none-any.whl"


@lru_cache(maxsize=1000)
def path(project: str) -> str:
    """Of that wheel at the index."""
    return f"/files/{project}/{hashlib.sha256(content(project)).hexdigest()}/{filename(project)}"


def listed(project: str, count: int) -> list[dict[str, Any]]:
    """So many wheels, four of each minor version."""
    made = []
    for number in range(count):
        name = f"{project.replace('-', '_')}-0.{number // 4}.{number % 4}-py3-none-any.whl"
        made.append(entry(project, name, hashlib.sha256(name.encode()).hexdigest(), 10_000 + number))
    return made


def document(project: str, files: Iterable[dict[str, Any]]) -> bytes:
    files = list(files)
    versions = list(dict.fromkeys(file["filename"].split("-")[1].removesuffix(".tar.gz") for file in files))
    whole = {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": files}
    return json.dumps(whole).encode()


def entry(project: str, name: str, sha256: str, size: int, metadata: str = "") -> dict[str, Any]:
    """`metadata`: its sha256; "": one that looks real, which nobody can fetch. A file of its own that has none
    would be read by the index in the background."""
    made: dict[str, Any] = {
        "filename": name,
        "url": f"/packages/{project}/{name}",
        "hashes": {"sha256": sha256},
        "size": size,
        "requires-python": ">=3.9",
        "upload-time": "2020-01-02T03:04:05.678901Z",
        "yanked": False,
    }
    if name.endswith(".whl"):
        made["core-metadata"] = {"sha256": metadata or hashlib.sha256(sha256.encode()).hexdigest()}
    return made
