"""Who made and published a release, as its upstream says: an attestation that is gone, somebody new.

Catches: a release made outside of the project's own pipeline, with a stolen token or account. It would have
shown on the releases of ultralytics 8.3.45 and 8.3.46 of December 2024, which were uploaded with a token
after 8.3.41 and 8.3.42 had come, poisoned, through the pipeline itself: so its presence proves nothing, and
is told to nobody. On npm it would have shown on the stolen releases of nx (2025), which had none of the provenance
of those before.
A publisher who did not maintain the release before, or maintainers of whom none is left, is a project in new hands, as
event-stream was (2018). A pipeline that takes over from people is none, if it attests what it does. PyPI tells of no
people; what files say of their authors is `differences`' to compare.
Cost: none, the index has asked already.
"""

from collections.abc import Iterator
from typing import Final

from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Facts, Package

_TOLD: Final = 3  # names of a list
_NAME: Final = 60  # characters of a name


def look(package: Package, former: Package | None) -> Iterator[Found]:
    facts = package.facts
    release = facts.former_version or "the release before it"
    if facts.former_provenance and not facts.provenance:
        yield _found(
            "attestation.gone", f"{release} says in an attestation who built it, and this release has none."
        )
    if facts.former_signed and not facts.signed:
        yield _found("attestation.unsigned", f"{release} is signed by its registry, and this release is not.")
    if told := _publisher(facts, release):
        yield _found("publisher.new", told)
    if facts.maintainers and facts.former_maintainers:
        left = set(facts.maintainers) & set(facts.former_maintainers)
        if not left:
            names, before = _listed(facts.maintainers), _listed(facts.former_maintainers)
            yield _found(
                "publisher.all-others",
                f"It is maintained by {names}, and {release} was by {before}: nobody is left.",
            )


def _publisher(facts: Facts, release: str) -> str:
    new, old = facts.publisher, facts.former_publisher
    if not new or not old or new == old or new in facts.former_maintainers:
        return ""
    if facts.trusted and facts.provenance:
        return ""
    return f"{new[:_NAME]} published it, who did not maintain {release}; that one was published by {old[:_NAME]}."


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(name[:_NAME] for name in names[:_TOLD]) + more


def _found(rule: str, why: str) -> Found:
    return Found(rule, Ability.IDENTITY, Threat.MEDIUM, why)
