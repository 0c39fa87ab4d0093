"""Which wheels of a page: the newest that this machine would install, and the same of the release before."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

if TYPE_CHECKING:  # of Django's: only once an installation is there
    from sandboxes.index.page import File, Page
    from sandboxes.screening.package import Facts


def newest(page: Page, python: str) -> File | None:
    """As installers choose: a pre-release only if there is nothing else, nothing withdrawn, and what fits best."""
    ranks = _ranks(python)
    fitting = [
        (Version(file.version), -rank, file)
        for file in page.files
        if file.yanked is False and _wants(file, python) and (rank := _rank(file, ranks)) is not None
    ]
    final = [each for each in fitting if not each[0].is_prerelease]
    return max(final or fitting, key=lambda each: each[:2])[2] if fitting else None


def former(page: Page, facts: Facts) -> File | None:
    """A wheel with the same tags, of the release before, that the index would compare with. None: it has none."""
    from sandboxes.index.screening.formers import Former, by_likeness

    listed = {file.filename: file for file in page.files if file.version == facts.former_version}
    found = [Former(name, file.sha256, "") for name, file in listed.items() if name.endswith(".whl")]
    alike = by_likeness(facts.filename, found)
    return listed[alike[0].filename] if alike else None


def _rank(file: File, ranks: dict[Tag, int]) -> int | None:
    """How far down among what this Python takes; None: not at all."""
    try:
        _, _, _, tags = parse_wheel_filename(file.filename)
    except InvalidWheelFilename:
        return None
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)


@lru_cache(maxsize=4)
def _ranks(python: str) -> dict[Tag, int]:
    major, _, minor = python.partition(".")
    version = (int(major), int(minor))
    tags = [*cpython_tags(version), *compatible_tags(version, f"cp{major}{minor}")]
    return {tag: number for number, tag in reversed(list(enumerate(tags)))}


def _wants(file: File, python: str) -> bool:
    try:
        return not file.requires_python or SpecifierSet(file.requires_python).contains(f"{python}.99")
    except InvalidSpecifier:
        return True
