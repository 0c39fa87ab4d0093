"""Limits as a form has them: CPUs and GiB, empty for none. One parser for quotas and capacities."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle.amounts import Limits

# Field → (column, how many of the column's unit one of the form's is, what it is called).
FIELDS: Final = {
    "sandboxes": ("sandboxes", 1, "Sandboxes"),
    "cpus": ("cpu_millis", 1000, "CPUs"),
    "memory": ("memory_mib", 1024, "Memory in GiB"),
    "gpus": ("gpus", 1, "GPUs"),
}
_MOST: Final = Decimal(1_000_000)


def parse(form: Mapping[str, str]) -> Limits:
    """The limits that were typed; InvalidInputError names the field."""
    return Limits(**{column: _number(form, name) for name, (column, _, _) in FIELDS.items()})


def typed(limits: Limits) -> dict[str, str]:
    """The limits as the form shows them."""
    return {name: _text(getattr(limits, column), factor) for name, (column, factor, _) in FIELDS.items()}


def _number(form: Mapping[str, str], name: str) -> int | None:
    text = form.get(name, "").strip().replace(",", ".")
    _, factor, label = FIELDS[name]
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= _MOST or amount * factor % 1:
        raise InvalidInputError(f"{label}: {text!r} is no amount; type a number, or nothing for no limit.")
    return int(amount * factor)


def _text(value: int | None, factor: int) -> str:
    if value is None:
        return ""
    return f"{Decimal(value) / factor:f}"
