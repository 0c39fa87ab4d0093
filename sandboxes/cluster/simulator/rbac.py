"""Roles, evaluated: what a SubjectAccessReview answers. ClusterRoles are not simulated."""

from collections.abc import Iterable
from typing import Any

type Json = dict[str, Any]


def allows(roles: dict[str, Json], bindings: Iterable[Json], user: str, wanted: Json) -> bool:
    """Whether `user` may do `wanted` (ResourceAttributes) by the roles of that namespace."""
    return any(
        _matches(rule, wanted)
        for binding in bindings
        if any(_is_subject(subject, user) for subject in binding.get("subjects") or ())
        for rule in roles.get(binding["roleRef"]["name"], {}).get("rules") or ()
    )


def _is_subject(subject: Json, user: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        return user == f"system:serviceaccount:{subject.get('namespace')}:{subject['name']}"
    return bool(subject["kind"] == "User" and subject["name"] == user)


def _matches(rule: Json, wanted: Json) -> bool:
    resource = wanted.get("resource", "")
    if wanted.get("subresource"):
        resource += f"/{wanted['subresource']}"
    names = rule.get("resourceNames") or ()
    return (
        _in(wanted.get("verb", ""), rule.get("verbs"))
        and _in(wanted.get("group", ""), rule.get("apiGroups"))
        and _in(resource, rule.get("resources"))
        and (not names or wanted.get("name") in names)
    )


def _in(value: str, allowed: list[str] | None) -> bool:
    return "*" in (allowed or ()) or value in (allowed or ())
