"""Archives of the entries, as a registry would hand them out: whole, and the same bytes each time."""

import base64
import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.screening.attacks.attack import INERT, MARKER, Attack, Files, Release
from sandboxes.screening.package import Facts, Kind

_DATE = (2026, 11, 1, 8, 0, 0)


@dataclass(frozen=True)
class Built:
    """What `Scanners.scan` is given."""

    path: Path
    facts: Facts
    former: Path | None = None


def build(attack: Attack, folder: Path) -> Built:
    """The attack, and beside it the release before it if there is one; below `folder`, which is made."""
    path = _written(attack, attack.release, folder / attack.name)
    if attack.former is None:
        return Built(path, _facts(attack, attack.release, path))
    former = _written(attack, attack.former, folder / attack.name / "former")
    facts = msgspec.structs.replace(
        _facts(attack, attack.release, path),
        former_version=attack.former.version,
        former_provenance=attack.former.provenance,
        releases=max(attack.releases, 2),
    )
    return Built(path, facts, former)


def build_former(attack: Attack, folder: Path) -> Built:
    """The release before the attack alone, as it was when it was the newest."""
    if attack.former is None:
        raise ValueError(f"{attack.name} has no release before it")
    path = _written(attack, attack.former, folder / attack.name / "former")
    facts = _facts(attack, attack.former, path)
    return Built(path, msgspec.structs.replace(facts, uploaded_at=attack.since))


def _facts(attack: Attack, release: Release, path: Path) -> Facts:
    return Facts(
        filename=path.name,
        ecosystem="npm" if attack.kind is Kind.NPM else "pypi",
        project=attack.project,
        version=release.version,
        uploaded_at=attack.uploaded,
        project_since=attack.since,
        requires_python="" if attack.kind is Kind.NPM else ">=3.9",
        provenance=release.provenance,
        releases=attack.releases,
    )


def _written(attack: Attack, release: Release, folder: Path) -> Path:
    name, data = {Kind.WHEEL: _wheel, Kind.SDIST: _sdist, Kind.NPM: _npm}[attack.kind](attack, release)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(release.tamper(data) if release.tamper else data)
    return path


def _wheel(attack: Attack, release: Release) -> tuple[str, bytes]:
    stem = f"{attack.project.replace('-', '_')}-{release.version}"
    info = f"{stem}.dist-info"
    wheel = f"Wheel-Version: 1.0\nGenerator: {MARKER}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = dict(_bytes(release.files))
    files[f"{info}/METADATA"] = _metadata(attack, release)
    files[f"{info}/WHEEL"] = wheel.encode()
    files[f"{info}/RECORD"] = _record(files, release, info)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(_entry(name), data)
    return f"{stem}-py3-none-any.whl", packed.getvalue()


def _record(files: dict[str, bytes], release: Release, info: str) -> bytes:
    said = {name: release.recorded.get(name, data) for name, data in files.items()}
    lines = [f"{name},{_digest(data)},{len(data)}" for name, data in said.items() if data is not None]
    return "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _metadata(attack: Attack, release: Release) -> bytes:
    said: dict[str, object] = {
        "Metadata-Version": "2.1",
        "Name": attack.project,
        "Version": release.version,
        "Summary": "Helpers for text and numbers",
        "Requires-Python": ">=3.9",
        **release.metadata,
    }
    return ("".join(f"{key}: {value}\n" for key, value in said.items()) + f"\n{MARKER}\n").encode()


def _sdist(attack: Attack, release: Release) -> tuple[str, bytes]:
    stem = f"{attack.project.replace('-', '_')}-{release.version}"
    files = {"PKG-INFO": _metadata(attack, release), **dict(_bytes(release.files))}
    return f"{stem}.tar.gz", _tar(stem, files)


def _npm(attack: Attack, release: Release) -> tuple[str, bytes]:
    package: dict[str, object] = {
        "name": attack.project,
        "version": release.version,
        "description": f"Helpers for text and numbers ({MARKER})",
        "main": "index.js",
        "license": "MIT",
        **release.metadata,
    }
    files = {"package.json": json.dumps(package, indent=2).encode(), **dict(_bytes(release.files))}
    return f"{attack.project}-{release.version}.tgz", _tar("package", files)


def _tar(top: str, files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    plain = gzip.GzipFile(fileobj=packed, mode="wb", mtime=0)  # no time of ours: the same bytes each time
    with plain, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 1_793_520_000
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _bytes(files: Files) -> Iterator[tuple[str, bytes]]:
    for name, content in files.items():
        yield name, content.encode() if isinstance(content, str) else content


# ---- members that are no text


def elf(kilobytes: int = 8) -> bytes:
    """The head of a program for x86-64 that has no segments: no system starts it."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, *[0] * 10)
    return head + f"\n{MARKER}\n".encode() + bytes(1024 * kilobytes)


def png(hidden: bytes = INERT.encode()) -> bytes:
    """A picture of one grey dot, with something behind its end."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = chunk(b"tEXt", b"Comment\0" + MARKER.encode())
    dot = chunk(b"IDAT", zlib.compress(b"\0\x80"))
    return b"\x89PNG\r\n\x1a\n" + head + text + dot + chunk(b"IEND", b"") + hidden


def behind(head: bytes) -> Callable[[bytes], bytes]:
    """The archive behind something else: who reads from the front and who reads from the end disagree."""
    return lambda data: head + data


def base64_of(text: str) -> str:
    """Text as it is often hidden in a member that is code."""
    return base64.b64encode(text.encode()).decode()
