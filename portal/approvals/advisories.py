"""Advisories: who may declare one, and what the form of an internal one means as an OSV record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal
from portal.approvals.drafts import DraftError
from sandboxes.errors import InvalidInputError, PetridishError, RefusedError
from sandboxes.screening import advisories, osv, searching, versions
from sandboxes.screening.models import Advisory
from sandboxes.screening.words import Ecosystem, Severity

MOST_AT_ONCE: Final = 100
LONGEST_WHY: Final = 300
MALICIOUS: Final = "malicious"
VULNERABLE: Final = "vulnerable"
ALL, LISTED, RANGE = "all", "listed", "range"
_NAMES: Final = {Ecosystem.PYPI: "PyPI", Ecosystem.NPM: "npm"}
_MOST_VERSIONS = 200


@dataclass(frozen=True)
class Answer:
    """What became of one record: its id, or why it was not taken."""

    id: str
    error: PetridishError | None = None


def declare(*, by: User, typed: Mapping[str, str]) -> Advisory:
    """One of our own, from the form. DraftError names each field that is wrong."""
    _require(by)
    return advisories.put(document(typed), by=by)


def put(*, by: User, record: Mapping[str, Any]) -> Advisory:
    _require(by)
    return advisories.put(record, by=by)


def put_all(*, by: User, records: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Each by itself: what is wrong with one keeps none of the others out."""
    _require(by)
    if len(records) > MOST_AT_ONCE:
        raise InvalidInputError(f"At most {MOST_AT_ONCE} records at once; for more, import a feed.")
    return [_put(by, record) for record in records]


def withdraw(identity: str, *, by: User, reason: str) -> Advisory:
    _require(by)
    return advisories.withdraw(identity, by=by, reason=reason)


def may_withdraw(viewer: User, advisory: Advisory) -> bool:
    ours = advisory.pk.startswith(osv.OWN) and advisory.withdrawn_at is None
    return ours and viewer.may(Permission.MANAGE)


def preview(*, by: User, typed: Mapping[str, str]) -> searching.Hit:
    """What it would hit, before it is declared."""
    _require(by)
    return searching.hits(searching.read(document(typed, needed=("project",))))


def document(typed: Mapping[str, str], needed: Sequence[str] = ("project", "why")) -> dict[str, Any]:
    """The form as an OSV record without an id. DraftError names each field that is wrong."""
    errors = {name: _MISSING[name] for name in needed if not typed.get(name, "").strip()}
    if len(typed.get("why", "")) > LONGEST_WHY:
        errors["why"] = f"At most {LONGEST_WHY} characters: one sentence."
    ecosystem = _ecosystem(typed, errors)
    affected: dict[str, Any] = {
        "package": {"ecosystem": _NAMES[ecosystem], "name": typed.get("project", "").strip()},
        **_versions(typed, ecosystem, errors),
    }
    specific = _specific(typed, errors)
    if not errors:
        _check_project(affected, errors)
    if errors:
        raise DraftError(errors)
    return {
        "summary": typed.get("why", "").strip(),
        "affected": [affected],
        "database_specific": specific,
    }


_MISSING: Final = {
    "project": "Name the project.",
    "why": "Say in one sentence why: people who are refused read it.",
}


def _put(by: User, record: Mapping[str, Any]) -> Answer:
    try:
        return Answer(advisories.put(record, by=by).pk)
    except PetridishError as error:
        return Answer(str(record.get("id") or ""), error)


def _ecosystem(typed: Mapping[str, str], errors: dict[str, str]) -> Ecosystem:
    given = typed.get("ecosystem") or Ecosystem.PYPI.value
    if given not in set(Ecosystem):
        errors["ecosystem"] = f"Choose one of {', '.join(Ecosystem)}."
        return Ecosystem.PYPI
    return Ecosystem(given)


def _specific(typed: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    match typed.get("kind"):
        case "malicious":
            return {"malicious": True}
        case "vulnerable":
            severity = typed.get("severity", "")
            if severity not in {one.name.lower() for one in Severity}:
                errors["severity"] = "Choose how severe it is."
            return {"malicious": False, "severity": severity.upper()}
    errors["kind"] = "Choose whether it is malicious or vulnerable."
    return {}


def _versions(typed: Mapping[str, str], ecosystem: Ecosystem, errors: dict[str, str]) -> dict[str, Any]:
    match typed.get("which"):
        case "all":
            return _range(ecosystem, {"introduced": "0"})
        case "listed":
            return {"versions": _listed(typed.get("versions", ""), ecosystem, errors)}
        case "range":
            first = typed.get("first", "").strip() or "0"
            fixed = typed.get("fixed", "").strip()
            for name, version in (("first", first), ("fixed", fixed)):
                if version not in ("", "0") and versions.read(ecosystem, version) is None:
                    errors[name] = f"{version[:40]!r} is no version."
            return _range(ecosystem, {"introduced": first}, *([{"fixed": fixed}] if fixed else []))
    errors["which"] = "Choose which versions."
    return {}


def _range(ecosystem: Ecosystem, *events: dict[str, str]) -> dict[str, Any]:
    kind = "SEMVER" if ecosystem is Ecosystem.NPM else "ECOSYSTEM"
    return {"ranges": [{"type": kind, "events": list(events)}]}


def _listed(text: str, ecosystem: Ecosystem, errors: dict[str, str]) -> list[str]:
    """With spaces or commas between."""
    found = text.replace(",", " ").split()
    wrong = next((one for one in found if versions.read(ecosystem, one) is None), None)
    if wrong is not None:
        errors["versions"] = f"{wrong[:40]!r} is no version."
    elif not found:
        errors["versions"] = "Name at least one version."
    elif len(found) > _MOST_VERSIONS:
        errors["versions"] = f"At most {_MOST_VERSIONS} versions; take a range."
    return found


def _check_project(affected: dict[str, Any], errors: dict[str, str]) -> None:
    try:
        searching.read({"affected": [affected]})
    except InvalidInputError as error:
        errors["project"] = f"That cannot be taken: {error}."


def _require(by: User) -> None:
    if not by.may(Permission.MANAGE):
        raise RefusedError(refusal([Permission.MANAGE]))
