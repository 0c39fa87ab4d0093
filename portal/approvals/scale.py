"""The scale of screening: who may change it, and a form's texts as a scale."""

from collections.abc import Mapping

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal
from sandboxes.errors import RefusedError
from sandboxes.screening import scale, scoring
from sandboxes.screening.findings import Ability, Threat

_THRESHOLDS = ("note", "warn", "hold")


def field(ability: Ability, threat: Threat) -> str:
    """The name of a cell in the form."""
    return f"{ability}-{threat}"


def typed(found: scoring.Scale) -> dict[str, str]:
    """As the form shows it; `parse` gives the same scale back."""
    cells = {
        field(ability, threat): str(found.points[ability][threat]) for ability in Ability for threat in Threat
    }
    return cells | {name: str(getattr(found, name)) for name in _THRESHOLDS}


def parse(given: Mapping[str, str]) -> scoring.Scale:
    """Raises `ScaleError`, which says where."""
    points = {
        str(ability): {str(threat): _whole(given.get(field(ability, threat), "")) for threat in Threat}
        for ability in Ability
    }
    thresholds = {name: _whole(given.get(name, "")) for name in _THRESHOLDS}
    return scoring.from_json(points, **thresholds)


def change(*, by: User, typed: Mapping[str, str], reason: str) -> bool:
    """Whether it changed anything."""
    _require(by)
    return scale.change(parse(typed), by=by, reason=reason)


def restore(*, by: User, reason: str) -> bool:
    _require(by)
    return scale.restore(by=by, reason=reason)


def _whole(text: str) -> int | str:
    """What is no whole number stays as it is, for the scale to say where that is."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def _require(by: User) -> None:
    if not by.may(Permission.MANAGE):
        raise RefusedError(refusal([Permission.MANAGE]))
