"""Kubernetes quantities ("500m", "2Gi"), exactly: binary floats would misjudge a full quota."""

import math
import re
from decimal import Decimal
from typing import Final

_QUANTITY: Final = re.compile(r"^([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")
_FACTOR: Final = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
}


def parse_quantity(text: str) -> Decimal:
    """The number a quantity stands for; ValueError if it is none (signs and exponents are none)."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity")
    return Decimal(match[1]) * _FACTOR[match[2] or ""]


def add_cpu(*quantities: str) -> str:
    """The sum in millicores, rounded up, which is how the API server itself writes fractions."""
    return f"{math.ceil(sum(map(parse_quantity, quantities), Decimal()) * 1000)}m"


def add_bytes(*quantities: str) -> str:
    """The sum in whole mebibytes, rounded up."""
    return f"{math.ceil(sum(map(parse_quantity, quantities), Decimal()) / 2**20)}Mi"
