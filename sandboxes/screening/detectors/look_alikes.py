"""Names that are taken for another project's, and files that bring another project's code.

Catches: typosquats and combosquats. It would have caught `jeIlyfish` (2019, an I for an l), `colourama`
(2018), `python3-dateutil` (2019, with the real project's code beside the thief's), `crossenv` (npm, 2017)
and `reqeusts`. A likeness alone proves little: most are forks, plugins and coincidences, and older than any
attack would live.
So the project's age decides how grave it is.
Cost: a fraction of a millisecond; the list is read once per process.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from packaging.utils import canonicalize_name

from sandboxes.screening import popular
from sandboxes.screening.detectors.names import Likeness, likeness
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Package

YOUNG: Final = timedelta(days=90)
# Only of the most used is it worth an attacker's while to bring the code along; and below, projects
# are called like folders that anybody has ("docs", "tests", "build").
_COPIED: Final = 1500
_COMMON_FOLDERS: Final = frozenset(
    ("azure", "backports", "benchmark", "benchmarks", "bin", "build", "common", "config", "data", "dist",
     "docs", "example", "examples", "google", "lib", "scripts", "src", "test", "tests", "tools", "types",
     "typing", "utils")
)  # fmt: skip
_FOLDER: Final = re.compile(r"([^/]+)/__init__\.py")


def look(package: Package, former: Package | None) -> Iterator[Found]:
    project = package.facts.project
    names = popular.names(package.facts.ecosystem)
    if not project or project in names:
        return
    age, told = _age(package.facts.project_since)
    alike = likeness(project, names)
    if alike:
        yield _named_like(alike, age, told)
    copied = _copied(package, names[:_COPIED])
    if copied:
        # Whoever has both the name and the code of somebody else is hardly a coincidence.
        both = alike is not None and alike.popular == copied
        yield Found(
            rule="look-alike.code",
            ability=Ability.IDENTITY,
            threat=_graver(age) if both else age,
            why=f"It installs the code of {copied}, a popular project, under another name; {told}.",
            path=f"{copied.replace('-', '_')}/__init__.py" if package.kind is Kind.WHEEL else "",
        )


def _named_like(alike: Likeness, age: Threat, told: str) -> Found:
    return Found(
        rule="look-alike.name",
        ability=Ability.IDENTITY,
        threat=age,
        why=f"Its name {alike.how} {alike.popular}, a popular project; {told}.",
    )


def _age(since: str) -> tuple[Threat, str]:
    """How much a likeness means in a project that was there first at `since`, and that in words."""
    first = _read(since)
    if first is None:
        return Threat.MEDIUM, "how old the project is, is not known"
    if datetime.now(UTC) - first < YOUNG:
        return Threat.HIGH, f"the project is there since {first:%Y-%m-%d} only"
    return Threat.LOW, f"but the project is there since {first:%Y-%m-%d}"


def _read(since: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _graver(threat: Threat) -> Threat:
    order = list(Threat)
    return order[min(order.index(threat) + 1, len(order) - 1)]


def _copied(package: Package, names: tuple[str, ...]) -> str:
    """The popular project whose import package this wheel brings; empty: none."""
    if package.kind is not Kind.WHEEL:
        return ""
    wanted = frozenset(names) - _COMMON_FOLDERS
    for member in package.members:
        if folder := _FOLDER.fullmatch(member.path):
            name = canonicalize_name(folder[1])
            if name in wanted and name != package.facts.project:
                return name
    return ""
