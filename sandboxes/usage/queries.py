"""Reads of what sandboxes received: installed, declared and never tried, tried and never declared.

An owner declares tools as typed: package names, requirements ("pandas[excel]>=2")
or free text. A declaration is compared with the index's records by its normalised
name (PEP 503), when it reads as one requirement (PEP 508). What does not ("a CRM
from the web shop") can never appear in the index's records, so nothing is said
about it: "never tried" would be a claim without evidence. One word of free text
("Slack") does read as a name, and does appear as never tried: as a package it was not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from semver import Version as NpmVersion

from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Connection, Fetch, Install

_NPM = "npm"
LONGEST_LIST = 500  # names; the report by install has every one


def installs(sandbox: Sandbox) -> QuerySet[Install]:
    """Files this sandbox received, newest first."""
    return Install.objects.filter(sandbox=sandbox).order_by("-id")


def connections(sandbox: Sandbox) -> QuerySet[Connection]:
    """What this sandbox asked of the egress proxy, newest first."""
    return Connection.objects.filter(sandbox=sandbox, source=Connection.PROXY).order_by("-id")


def refused(sandbox: Sandbox) -> QuerySet[Fetch]:
    """What this sandbox asked for and policy did not give, newest first; `Fetch.refused` is the rule."""
    return Fetch.objects.filter(sandbox=sandbox).exclude(refused="").order_by("-id")


@dataclass(frozen=True)
class TakenOlder:
    """A version that was taken while policy withheld a newer one. `id` is the install's."""

    id: int
    project: str
    version: str
    at: datetime
    withheld: str
    rule: str
    ecosystem: str = "pypi"


def taken_older(sandbox: Sandbox) -> list[TakenOlder]:
    """Projects of which the version taken last is older than one that its page withheld just before, newest first.

    It looks at the newest `LONGEST_LIST` projects that the sandbox received.
    """
    newest = Install.objects.filter(sandbox=sandbox).order_by("ecosystem", "project", "-id")
    newest = newest.distinct("ecosystem", "project")
    pages = Fetch.objects.filter(
        sandbox=sandbox,
        kind="page",
        ecosystem=OuterRef("ecosystem"),
        project=OuterRef("project"),
        at__lte=OuterRef("at"),
    ).order_by("-id")
    taken = (
        Install.objects.filter(pk__in=newest.values("pk"))
        .annotate(withheld=Subquery(pages.values("withheld")[:1]))
        .annotate(rule=Subquery(pages.values("withheld_by")[:1]))
        .order_by("-id")[:LONGEST_LIST]
    )
    return [
        TakenOlder(
            install.pk,
            install.project,
            install.version,
            install.at,
            install.withheld,
            install.rule,
            install.ecosystem,
        )
        for install in taken
        if install.withheld and _is_older(install.ecosystem, install.version, install.withheld)
    ]


def _is_older(ecosystem: str, version: str, than: str) -> bool:
    """As the ecosystem orders its versions; what cannot be read is not older."""
    try:
        if ecosystem == _NPM:
            return NpmVersion.parse(version) < NpmVersion.parse(than)
        return Version(version) < Version(than)
    except ValueError:
        return False


def declared_names(tools: Iterable[str]) -> dict[str, str]:
    """Normalised name → the tool as typed, in the order of declaration, for those that are a requirement."""
    named: dict[str, str] = {}
    for tool in tools:
        try:
            name = canonicalize_name(Requirement(tool.strip()).name)
        except InvalidRequirement:
            continue
        named.setdefault(name, tool)
    return named


def never_tried(sandbox: Sandbox) -> list[str]:
    """Declared tools, as typed, that this sandbox received no file of and never asked the index about."""
    named = declared_names(sandbox.tools)
    if not named:
        return []
    fetched = Fetch.objects.filter(sandbox=sandbox, project__in=named).order_by().values_list("project")
    installed = Install.objects.filter(sandbox=sandbox, project__in=named).order_by().values_list("project")
    tried = {project for (project,) in fetched.union(installed)}  # UNION: each name once
    return [tool for name, tool in named.items() if name not in tried]


def tried_undeclared(sandbox: Sandbox) -> list[str]:
    """Projects this sandbox received files of that were not declared, by name; at most `LONGEST_LIST`.

    Dependencies are among them: the index sees files, not who asked pip for what.
    """
    received = Install.objects.filter(sandbox=sandbox).exclude(project__in=declared_names(sandbox.tools))
    return list(received.order_by("project").values_list("project", flat=True).distinct()[:LONGEST_LIST])
