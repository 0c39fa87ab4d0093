"""Reads of what sandboxes received: installed, declared and never tried, tried and never declared.

An owner declares tools as typed: package names, requirements ("pandas[excel]>=2")
or free text. A declaration is compared with the index's records by its normalised
name (PEP 503), when it reads as one requirement (PEP 508). What does not ("a CRM
from the web shop") can never appear in the index's records, so nothing is said
about it: "never tried" would be a claim without evidence. One word of free text
("Slack") does read as a name, and does appear as never tried: as a package it was not.
"""

from collections.abc import Iterable

from django.db.models import QuerySet
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Connection, Fetch, Install

LONGEST_LIST = 500  # names; the report by install has every one


def installs(sandbox: Sandbox) -> QuerySet[Install]:
    """Files this sandbox received, newest first."""
    return Install.objects.filter(sandbox=sandbox).order_by("-id")


def connections(sandbox: Sandbox) -> QuerySet[Connection]:
    """What this sandbox asked of the egress proxy, newest first."""
    return Connection.objects.filter(sandbox=sandbox).order_by("-id")


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
