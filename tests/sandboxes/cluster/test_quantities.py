"""Quantities are exact."""

from decimal import Decimal

import pytest

from sandboxes.cluster.quantities import add_bytes, add_cpu, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("500m", "0.5"),
        ("0.1", "0.1"),
        ("2k", "2000"),
        ("1Gi", "1073741824"),
        ("1.5Mi", "1572864"),
    ],
)
def test_quantities_are_read(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1 Gi", "Gi", "1GB", "1.", "٣", "1\n"])
def test_other_text_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        parse_quantity(text)


def test_sums() -> None:
    assert add_cpu("1", "100m") == "1100m"
    assert add_bytes("1Gi", "64Mi") == "1088Mi"
    assert add_bytes("1M", "1") == "1Mi"
