"""2,661 real records: the PyPA advisory database of October 2024, where this machine has them."""

import os
from pathlib import Path

import pytest

from sandboxes.screening import queries
from sandboxes.screening.feeds import import_feed
from sandboxes.screening.models import Advisory, Affected
from sandboxes.screening.words import Ecosystem

# A dump of an ecosystem, as OSV gives them out: in the folder PETRIDISH_TEST_DATA, or beside the checkout.
BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data"
DUMP = Path(os.environ.get("PETRIDISH_TEST_DATA", BESIDE)) / "osv-pypi-2024-10.zip"

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        not DUMP.exists(), reason=f"no real records here ({DUMP.name} in PETRIDISH_TEST_DATA)"
    ),
]


def test_real_records() -> None:
    counts = import_feed(str(DUMP), by=None)
    assert (counts.read, counts.new, counts.elsewhere, counts.broken) == (2661, 2660, 1, 0)
    assert Advisory.objects.exclude(withdrawn_at=None).count() == 9  # the tenth is the one about commits only
    assert Affected.objects.filter(project="django").count() > 100

    again = import_feed(str(DUMP), by=None)
    assert (again.new, again.changed, again.unchanged) == (0, 0, 2660)

    # CVE-2019-19844: before 1.11.27, and 2.2 before 2.2.9.
    found = queries.against(Ecosystem.PYPI, ["django"])["django"]
    hole = "PYSEC-2019-16"
    against = {
        version: {known.id for known in found.of(version)}
        for version in ("1.11.26", "1.11.27", "2.2.8", "2.2.9")
    }
    assert hole in against["1.11.26"] & against["2.2.8"]
    assert hole not in against["1.11.27"] | against["2.2.9"]
    assert hole in {known.id for known in found.fixed_by("2.2.9", "2.2.8")}
