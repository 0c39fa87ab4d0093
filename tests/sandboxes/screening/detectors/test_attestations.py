"""An attestation that is gone, and all that says nothing."""

from typing import Any

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


@pytest.mark.parametrize(
    ("facts", "rules"),
    [
        ({"former_signed": True, "signed": False}, {"attestation.unsigned"}),
        ({"former_signed": True, "signed": True}, set()),
        ({"former_publisher": "anna", "publisher": "anna"}, set()),
        ({"former_publisher": "anna", "publisher": "eve"}, {"publisher.new"}),
        ({"former_publisher": "", "publisher": "eve"}, set()),
        ({"former_publisher": "anna", "publisher": ""}, set()),
        ({"former_publisher": "anna", "publisher": "ben", "former_maintainers": ("anna", "ben")}, set()),
        # A pipeline that npm knows, with what it attests, and one without.
        ({"former_publisher": "anna", "publisher": "CI", "trusted": True, "provenance": True}, set()),
        ({"former_publisher": "anna", "publisher": "CI", "trusted": True}, {"publisher.new"}),
        ({"former_publisher": "anna", "publisher": "CI", "provenance": True}, {"publisher.new"}),
        ({"former_maintainers": ("anna", "ben"), "maintainers": ("ben", "eve")}, set()),
        ({"former_maintainers": ("anna",), "maintainers": ("eve",)}, {"publisher.all-others"}),
        ({"former_maintainers": ("anna",), "maintainers": ()}, set()),
        ({"former_maintainers": (), "maintainers": ("eve",)}, set()),
    ],
)
def test_who_published_it(facts: dict[str, Any], rules: set[str]) -> None:
    found = list(attestations.look(package({}, **facts), None))
    assert {each.rule for each in found} == rules
    assert {(each.ability, each.threat) for each in found} <= {(Ability.IDENTITY, Threat.MEDIUM)}
