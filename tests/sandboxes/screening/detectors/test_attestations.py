"""An attestation that is gone, and all that says nothing."""

import pytest

from sandboxes.screening.detectors import attestations
from sandboxes.screening.findings import Ability, Threat
from tests.sandboxes.screening.packages import package


@pytest.mark.parametrize(
    ("before", "now", "found"), [(True, False, 1), (True, True, 0), (False, True, 0), (False, False, 0)]
)
def test_only_one_that_is_gone_is_told(before: bool, now: bool, found: int) -> None:
    looked_at = package({}, former_provenance=before, provenance=now, former_version="0.9")
    assert len(list(attestations.look(looked_at, None))) == found


def test_it_names_the_release_that_had_one() -> None:
    looked_at = package({}, former_provenance=True, former_version="0.9")
    (found,) = attestations.look(looked_at, None)
    assert (found.rule, found.ability, found.threat) == ("attestation.gone", Ability.IDENTITY, Threat.MEDIUM)
    assert found.why.startswith("0.9 says")
