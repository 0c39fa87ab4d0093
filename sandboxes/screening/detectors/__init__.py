"""What looks at a file's members: each detector is a small module with one function, `look`.

A detector is told the package and, if there is one, the release before it. It yields what it found and never
raises: what it cannot read is not an attack, and what is too much for it is said in a finding. None of them
imports Django, or anything but `findings`, `package`, its own helpers and the shape of what we plant ourselves
(`lifecycle.bait_shape`): the scanner's children import them all.
"""

from collections.abc import Iterator
from typing import Final, Protocol

from sandboxes.screening.detectors import (
    attestations,
    differences,
    import_time,
    install_code,
    look_alikes,
    metadata,
    native,
    npm_code,
    npm_scripts,
    obfuscation,
    secrets,
    start_hooks,
    yara_rules,
)
from sandboxes.screening.findings import Found
from sandboxes.screening.package import Package


class Detector(Protocol):
    """A module of this folder."""

    def look(self, package: Package, former: Package | None) -> Iterator[Found]: ...


ALL: Final[tuple[Detector, ...]] = (
    # code
    start_hooks,
    install_code,
    import_time,
    obfuscation,
    secrets,
    native,
    npm_scripts,
    npm_code,
    # comparison, patterns, names
    differences,
    yara_rules,
    look_alikes,
    metadata,
    attestations,
)
