"""A bill of materials (CycloneDX 1.6, JSON) of files that were received, with what is known against them (VEX).

A component is one file, with its purl and sha256. A vulnerability is an advisory that affects some of
them, or what screening found in one; its `analysis` says where that stands here:

- `exploitable`: malware, or a file that a person blocked;
- `in_triage`: a hole that nobody has judged for this use, with the waiver if there is one;
- `false_positive`: the advisory was withdrawn, or a person released the file;
- `not_affected`: the advisory was changed and spares what was received.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cyclonedx.model import HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.impact_analysis import ImpactAnalysisResponse, ImpactAnalysisState
from cyclonedx.model.vulnerability import (
    BomTarget,
    Vulnerability,
    VulnerabilityAnalysis,
    VulnerabilityRating,
    VulnerabilitySeverity,
    VulnerabilitySource,
)
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from sandboxes.screening import osv, queries
from sandboxes.screening.exposure import Kind, kind_of
from sandboxes.screening.findings import Level
from sandboxes.screening.models import Advisory, Exposure, Verdict
from sandboxes.screening.words import Ecosystem, Known, Screening
from sandboxes.usage.models import Install

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json; version=1.6"
_VERSION: Final = SchemaVersion.V1_6
_TOLD: Final = {Level.WARN, Level.HOLD}  # of the levels of screening
_SEVERITIES: Final = {
    Kind.MALICIOUS: VulnerabilitySeverity.CRITICAL,
    Kind.CRITICAL: VulnerabilitySeverity.CRITICAL,
    Kind.HIGH: VulnerabilitySeverity.HIGH,
    Kind.MEDIUM: VulnerabilitySeverity.MEDIUM,
    Kind.LOW: VulnerabilitySeverity.LOW,
}
_OURS: Final = VulnerabilitySource(name="Petridish")
_OSV: Final = "https://osv.dev/vulnerability/"


@dataclass(frozen=True)
class Waived:
    """A waiver that lets something through in spite of what is known. `version` "": every version."""

    ecosystem: str
    project: str
    version: str
    reason: str
    until: datetime

    def is_about(self, file: Install) -> bool:
        same = (self.ecosystem, self.project) == (file.ecosystem, file.project)
        return same and self.version in ("", file.version)


type _Release = tuple[str, str, str]


def of(
    name: str,
    files: Iterable[Install],
    exposures: Iterable[Exposure],
    waived: Sequence[Waived] = (),
    cut_short: str = "",
) -> str:
    """Of the thing called `name`, which received these files. `cut_short`: what it leaves out, if anything."""
    by_hash = {(file.filename, file.sha256): file for file in files}
    received = sorted(by_hash.values(), key=lambda file: (file.ecosystem, file.filename, file.sha256))
    bom = Bom(components=[_component(file) for file in received])
    bom.metadata.component = Component(name=name, type=ComponentType.APPLICATION, bom_ref="subject")
    bom.metadata.tools.components.add(Component(name="Petridish", type=ComponentType.APPLICATION))
    if cut_short:
        bom.metadata.properties.add(Property(name="petridish:cut_short", value=cut_short))
    bom.register_dependency(bom.metadata.component, bom.components)
    for found in [*_advisories(received, list(exposures), waived), *_verdicts(received)]:
        bom.vulnerabilities.add(found)
    return make_outputter(bom, OutputFormat.JSON, _VERSION).output_as_string(indent=1)


def faults(text: str) -> list[str]:
    """What CycloneDX's own schema has against it: nothing, if it is right."""
    found = JsonStrictValidator(_VERSION).validate_str(text, all_errors=True)
    return [str(fault) for fault in found or ()]


def _component(file: Install) -> Component:
    group, _, name = file.project.rpartition("/")
    return Component(
        name=name,
        group=group or None,
        version=file.version,
        bom_ref=_ref(file),
        purl=_purl(file, group, name),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
    )


def _purl(file: Install, group: str, name: str) -> PackageURL | None:
    """None for a name that is only white space: no purl can say it."""
    if not name.strip():
        return None
    return PackageURL(file.ecosystem, group or None, name, file.version, {"file_name": file.filename})


def _ref(file: Install) -> str:
    return f"{file.ecosystem}:{file.filename}:{file.sha256[:16]}"


def _release(file: Install) -> _Release:
    return file.ecosystem, file.project, file.version


def _advisories(
    files: list[Install], exposures: list[Exposure], waived: Sequence[Waived]
) -> Iterator[Vulnerability]:
    known = _known(files)
    affected: dict[str, list[tuple[Install, Known]]] = {}
    for file in files:
        for one in known.get(_release(file), ()):
            affected.setdefault(one.id, []).append((file, one))
    by_number = {file.pk: file for file in files}
    spared: dict[str, list[Exposure]] = {}
    for exposure in exposures:
        if exposure.closed_at is not None and exposure.advisory_id not in affected:
            spared.setdefault(exposure.advisory_id, []).append(exposure)
    stored = Advisory.objects.defer("document").in_bulk([*affected, *spared])
    for identity, hits in affected.items():
        yield _affecting(stored[identity], hits, waived)
    for identity, closed in spared.items():
        numbers = {number for exposure in closed for number in exposure.installs}
        targets = [by_number[number] for number in sorted(numbers) if number in by_number]
        yield _sparing(stored[identity], closed[-1], targets)


def _known(files: list[Install]) -> dict[_Release, tuple[Known, ...]]:
    found: dict[_Release, tuple[Known, ...]] = {}
    for ecosystem in Ecosystem:
        releases = {_release(file) for file in files if file.ecosystem == ecosystem}
        against = queries.against(ecosystem, {project for _, project, _ in releases})
        for release in releases:
            if release[1] in against:
                found[release] = against[release[1]].of(release[2])
    return found


def _affecting(
    advisory: Advisory, hits: list[tuple[Install, Known]], waived: Sequence[Waived]
) -> Vulnerability:
    one = max((known for _, known in hits), key=lambda known: known.confirmed)
    kind = kind_of(one)
    waivers = [each for each in waived if any(each.is_about(file) for file, _ in hits)]
    said = [f"Let through by a waiver until {each.until:%Y-%m-%d}: {each.reason}" for each in waivers]
    if not one.confirmed:
        said.append("Only a range of the advisory covers it: a person has to look.")
    bad = kind is Kind.MALICIOUS and one.confirmed
    analysis = VulnerabilityAnalysis(
        state=ImpactAnalysisState.EXPLOITABLE if bad else ImpactAnalysisState.IN_TRIAGE,
        responses=[ImpactAnalysisResponse.WILL_NOT_FIX] if waivers else None,
        detail=" ".join(said) or None,
    )
    return _vulnerability(advisory, kind, [file for file, _ in hits], analysis)


def _sparing(advisory: Advisory, exposure: Exposure, files: list[Install]) -> Vulnerability:
    withdrawn = advisory.withdrawn_at is not None
    analysis = VulnerabilityAnalysis(
        state=ImpactAnalysisState.FALSE_POSITIVE if withdrawn else ImpactAnalysisState.NOT_AFFECTED,
        detail=exposure.closed_why,
    )
    return _vulnerability(advisory, Kind(exposure.kind), files, analysis)


def _vulnerability(
    advisory: Advisory, kind: Kind, files: list[Install], analysis: VulnerabilityAnalysis
) -> Vulnerability:
    ours = advisory.id.startswith(osv.OWN)
    return Vulnerability(
        bom_ref=f"advisory:{advisory.id}",
        id=advisory.id,
        source=_OURS if ours else VulnerabilitySource(name="OSV", url=XsUri(f"{_OSV}{advisory.id}")),
        description=advisory.summary or None,
        ratings=[VulnerabilityRating(severity=_SEVERITIES[kind])],
        published=advisory.published,
        updated=advisory.modified,
        analysis=analysis,
        affects=[BomTarget(ref=_ref(file)) for file in files],
        properties=[Property(name="petridish:kind", value=kind.value)],
    )


def _verdicts(files: list[Install]) -> Iterator[Vulnerability]:
    """What screening thinks of a file that it would not let pass without a word."""
    for verdict in Verdict.objects.filter(sha256__in={file.sha256 for file in files}).order_by("pk"):
        if verdict.level not in _TOLD and verdict.state not in (Screening.HELD, Screening.BLOCKED):
            continue
        targets = [file for file in files if file.sha256 == verdict.sha256 and _is_of(verdict, file)]
        if not targets:
            continue
        why = [str(found.get("why", "")) for found in verdict.findings if isinstance(found, dict)]
        yield Vulnerability(
            bom_ref=f"verdict:{verdict.pk}",
            id=f"screening-{verdict.sha256[:16]}",
            source=_OURS,
            description=" ".join(why) or verdict.reason or None,
            updated=verdict.at,
            analysis=_judged(verdict),
            affects=[BomTarget(ref=_ref(file)) for file in targets],
            properties=[
                Property(name="petridish:screening", value=verdict.state),
                Property(name="petridish:level", value=verdict.level or "unknown"),
            ],
        )


def _is_of(verdict: Verdict, file: Install) -> bool:
    """A verdict counts for the name that was looked at; one without any, whatever the bytes are called."""
    named = (verdict.ecosystem, verdict.project, verdict.filename)
    return not verdict.filename or named == (file.ecosystem, file.project, file.filename)


def _judged(verdict: Verdict) -> VulnerabilityAnalysis:
    state = ImpactAnalysisState.IN_TRIAGE
    if verdict.decision == "released":
        state = ImpactAnalysisState.FALSE_POSITIVE
    elif verdict.decision == "blocked" or verdict.state == Screening.BLOCKED:
        state = ImpactAnalysisState.EXPLOITABLE
    return VulnerabilityAnalysis(state=state, detail=verdict.decision_reason or None)
