"""Packages for tests: as detectors see them, from a dictionary of files, and as real archives' bytes."""

import base64
import csv
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandboxes.screening.package import Facts, Kind, Member

type Files = Mapping[str, bytes | str]


def as_bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


@dataclass(frozen=True)
class MadeMember:
    path: str
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, most: int = 1 << 30) -> bytes:
        return self.content[:most]

    def text(self, most: int = 1 << 30) -> str:
        return self.read(most).decode(errors="replace")


@dataclass(eq=False)
class MadePackage:
    """A `package.Package` of what is in memory; nothing limits it."""

    kind: Kind
    files: dict[str, MadeMember]
    facts: Facts
    oddities: tuple[str, ...] = ()

    @property
    def members(self) -> Iterable[Member]:
        return list(self.files.values())

    def member(self, path: str) -> Member | None:
        return self.files.get(path)


def package(files: Files, kind: Kind = Kind.WHEEL, *, filename: str = "", **facts: object) -> MadePackage:
    """As a scanner's child would see the archive of these files: paths as they would be installed."""
    known = {"project": "thing", "version": "1.0", **facts}
    known["ecosystem"] = "npm" if kind is Kind.NPM else "pypi"
    names = {
        Kind.WHEEL: "thing-1.0-py3-none-any.whl",
        Kind.SDIST: "thing-1.0.tar.gz",
        Kind.NPM: "thing-1.0.tgz",
    }
    return MadePackage(
        kind=kind,
        files={path: MadeMember(path, as_bytes(content)) for path, content in files.items()},
        facts=Facts(filename=filename or names[kind], **known),  # type: ignore[arg-type]
    )


def wheel(
    files: Files, *, name: str = "thing", version: str = "1.0", metadata: str = "", record: bool = True
) -> bytes:
    """A wheel that installers take; `record=False` leaves RECORD out."""
    info = f"{name}-{version}.dist-info"
    whole: dict[str, bytes] = {path: as_bytes(content) for path, content in files.items()}
    whole.setdefault(
        f"{info}/METADATA",
        (metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n").encode(),
    )
    whole.setdefault(
        f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if record:
        whole.setdefault(f"{info}/RECORD", _record(whole, f"{info}/RECORD"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in whole.items():
            archive.writestr(path, content)
    return packed.getvalue()


def _record(files: Mapping[str, bytes], own: str) -> bytes:
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((path, f"sha256={digest}", len(content)))
    rows.writerow((own, "", ""))
    return lines.getvalue().encode()


def sdist(files: Files, *, name: str = "thing", version: str = "1.0") -> bytes:
    """A .tar.gz with its first folder and PKG-INFO."""
    whole = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", **files}
    return _tar(whole, f"{name}-{version}/")


def sdist_zip(files: Files, *, name: str = "thing", version: str = "1.0") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(f"{name}-{version}/{path}", as_bytes(content))
    return packed.getvalue()


def npm(files: Files, *, name: str = "thing", version: str = "1.0") -> bytes:
    """A .tgz with `package/` and a package.json."""
    return _tar({"package.json": f'{{"name": "{name}", "version": "{version}"}}', **files}, "package/")


def _tar(files: Files, folder: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(folder + path)
            entry.size = len(as_bytes(content))
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(as_bytes(content)))
    return packed.getvalue()


def saved(content: bytes, folder: Path, filename: str) -> Path:
    target = folder / filename
    target.write_bytes(content)
    return target
