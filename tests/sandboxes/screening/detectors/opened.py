"""Real archives, opened as the scanner's children open them, and what one detector finds in them."""

from pathlib import Path

from sandboxes.screening.archives import ArchivePackage, open_package
from sandboxes.screening.detectors import Detector
from sandboxes.screening.findings import Found
from sandboxes.screening.package import Facts, Package
from tests.sandboxes.screening import packages
from tests.sandboxes.screening.packages import Files


def opened(content: bytes, folder: Path, filename: str, **facts: object) -> ArchivePackage:
    """`facts`: those of a project `thing` in version 1.0, unless told otherwise."""
    known = {"project": "thing", "version": "1.0", **facts}
    folder.mkdir(exist_ok=True)
    path = packages.saved(content, folder, filename)
    return open_package(path, Facts(filename=filename, **known))  # type: ignore[arg-type]


def wheel(
    folder: Path, files: Files, *, version: str = "1.0", metadata: str = "", **facts: object
) -> ArchivePackage:
    content = packages.wheel(files, version=version, metadata=metadata)
    name = f"thing-{version}-py3-none-any.whl"
    return opened(content, folder, name, **{"version": version, **facts})


def sdist(folder: Path, files: Files, *, version: str = "1.0", **facts: object) -> ArchivePackage:
    content = packages.sdist(files, version=version)
    return opened(content, folder, f"thing-{version}.tar.gz", **{"version": version, **facts})


def npm(folder: Path, files: Files, *, version: str = "1.0", **facts: object) -> ArchivePackage:
    content = packages.npm(files, version=version)
    name = f"thing-{version}.tgz"
    return opened(content, folder, name, **{"version": version, "ecosystem": "npm", **facts})


def looked(detector: Detector, package: Package, former: Package | None = None) -> list[Found]:
    return list(detector.look(package, former))


def told(found: list[Found]) -> set[tuple[str, str]]:
    """Rules and threats."""
    return {(each.rule, str(each.threat)) for each in found}
