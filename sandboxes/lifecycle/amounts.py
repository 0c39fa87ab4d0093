"""What quotas are counted in, and how pages say it. Pure."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final


class Resource(StrEnum):
    """The fields of an amount, by the names of their columns."""

    SANDBOXES = "sandboxes"
    CPU = "cpu_millis"
    MEMORY = "memory_mib"
    GPUS = "gpus"


@dataclass(frozen=True, slots=True)
class Amount:
    """What one sandbox takes, or several together: CPU in millicores, memory in MiB."""

    sandboxes: int = 0
    cpu_millis: int = 0
    memory_mib: int = 0
    gpus: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(*(self.of(each) + other.of(each) for each in Resource))

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(*(self.of(each) - other.of(each) for each in Resource))

    def of(self, resource: Resource) -> int:
        number: int = getattr(self, resource.value)
        return number


@dataclass(frozen=True, slots=True)
class Limits:
    """At most so much; None is no limit."""

    sandboxes: int | None = None
    cpu_millis: int | None = None
    memory_mib: int | None = None
    gpus: int | None = None

    def of(self, resource: Resource) -> int | None:
        number: int | None = getattr(self, resource.value)
        return number

    def over(self, default: "Limits") -> "Limits":
        """These, and the default's where these say nothing."""
        own = {each: self.of(each) for each in Resource}
        return Limits(*(default.of(each) if own[each] is None else own[each] for each in Resource))

    @classmethod
    def from_row(cls, row: Any, prefix: str = "") -> "Limits":
        """Of a row whose columns are named like the fields here, with `prefix` before them."""
        return cls(**{field.name: getattr(row, prefix + field.name) for field in fields(cls)})


NO_LIMITS: Final = Limits()
_UNITS: Final = {
    Resource.SANDBOXES: ("sandbox", "sandboxes"),
    Resource.CPU: ("CPU", "CPUs"),
    Resource.MEMORY: ("GiB of memory", "GiB of memory"),
    Resource.GPUS: ("GPU", "GPUs"),
}
_DIVISORS: Final = {Resource.CPU: 1000, Resource.MEMORY: 1024}


def number(resource: Resource, amount: int) -> str:
    """Without the unit: "3", or "1.06" GiB."""
    divisor = _DIVISORS.get(resource)
    if divisor is None:
        return str(amount)
    return f"{amount / divisor:.2f}".rstrip("0").rstrip(".")


def said(resource: Resource, amount: int) -> str:
    """With the unit: "1 sandbox", "1.1 CPUs", "2.06 GiB of memory"."""
    one, many = _UNITS[resource]
    text = number(resource, amount)
    return f"{text} {one if text == '1' else many}"
