"""An attestation that earlier releases had and this one has not.

Catches: a release made outside of the project's own pipeline, with a stolen token or account. It would have
shown on the releases of ultralytics 8.3.45 and 8.3.46 of December 2024, which were uploaded with a token
after 8.3.41 and 8.3.42 had come, poisoned, through the pipeline itself: so its presence proves nothing, and
is told to nobody.
Cost: none, the index has asked already.
"""

from collections.abc import Iterator

from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Package


def look(package: Package, former: Package | None) -> Iterator[Found]:
    facts = package.facts
    if facts.former_provenance and not facts.provenance:
        release = facts.former_version or "the release before it"
        yield Found(
            rule="attestation.gone",
            ability=Ability.IDENTITY,
            threat=Threat.MEDIUM,
            why=f"{release} says in an attestation who built it, and this release has none.",
        )
