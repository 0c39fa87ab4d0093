"""Requirement files as people write them, and the facts about every project that they reach.

`files/` has what people write. `releases.json` has what resolvers ask about each release: its wheels (one for each
kind of system that resolving looks at), what it requires, which extras and which Python, when it was published and
whether it is yanked. `locks/` has what uv chose for each file from the index that the facts were taken from, as it was
on the last of `refresh.DATES`. All but `files/` is written by `refresh.py` and never by hand.
"""

import json
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from packaging.tags import parse_tag
from packaging.utils import canonicalize_name

from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package

HERE = Path(__file__).parent
FILES = HERE / "files"
LOCKS = HERE / "locks"
FACTS = HERE / "releases.json"
CONSTRAINTS = "constraints.txt"  # no set of its own: others name it
SETS = sorted(path.stem for path in FILES.iterdir() if path.name != CONSTRAINTS)

Release = dict[str, Any]


@cache
def releases() -> dict[str, dict[str, Release]]:
    """By project and version."""
    read: dict[str, dict[str, Release]] = json.loads(FACTS.read_text())
    return read


def add_releases(upstream: UpstreamServer) -> None:
    for project, versions in releases().items():
        for version, release in versions.items():
            for filename in release["files"]:
                upstream.extra[filename] = _entry(release)
                upstream.add(canonicalize_name(project), _wheel(filename, project, version, release))


def _entry(release: Release) -> dict[str, Any]:
    """What the index's page says of a file, besides what it says of each."""
    said = {"upload-time": release["published"], "yanked": release.get("yanked", False)}
    return said | ({"requires-python": release["python"]} if "python" in release else {})


def _wheel(filename: str, project: str, version: str, release: Release) -> Package:
    """As small as one can be that an installer takes."""
    distribution, _, tag = filename.removesuffix(".whl").split("-", 2)
    info = f"{'-'.join(filename.split('-', 2)[:2])}.dist-info"
    metadata = "\n".join(_metadata(project, version, release)).encode()
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n{_tags(tag)}"
    contents = {
        f"{distribution.lower()}.py": b"",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": wheel.encode(),
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in contents.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return Package(filename, buffer.getvalue(), metadata)


def _metadata(project: str, version: str, release: Release) -> Iterator[str]:
    yield from ("Metadata-Version: 2.1", f"Name: {project}", f"Version: {version}")
    if "python" in release:
        yield f"Requires-Python: {release['python']}"
    yield from (f"Provides-Extra: {each}" for each in release.get("extras", ()))
    yield from (f"Requires-Dist: {each}" for each in release.get("requires", ()))
    yield ""


def _tags(tag: str) -> str:
    """Each tag that a file name's is short for, sorted: hashes are the same in every process."""
    return "".join(f"Tag: {each}\n" for each in sorted(map(str, parse_tag("-".join(tag.split("-")[-3:])))))


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
