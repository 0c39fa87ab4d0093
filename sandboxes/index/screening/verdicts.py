"""Verdicts: what a scan found, by the scale that holds now, as a row.

A verdict is on bytes under a name. A person's decision keeps its state, whatever is found later, and so does a file
that somebody had decided about and wants looked at again: what was found is written beside it. When the scale changes,
levels are worked out anew from what was found, and nothing is scanned.

What was found in a held file by comparing it stays with it until the same comparison finds it no more: that a release
was evicted, or that another one came in between, makes nothing harmless. A scan by older rules than those of the
verdict is not written at all, nor one whose job another process has taken over.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import msgspec

from sandboxes.index.database import Database
from sandboxes.index.screening.formers import Compared
from sandboxes.index.screening.jobs import Job
from sandboxes.index.screening.rules import heard_of
from sandboxes.screening import scoring
from sandboxes.screening.findings import Found, Level, Report, Threat
from sandboxes.screening.package import Facts
from sandboxes.screening.words import Screening

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 200  # verdicts whose level is worked out together
_BELIEVED: Final = 600.0  # seconds; a scan may have been written by the scale that held just before
_GRAVEST_FIRST: Final = list(reversed(Threat))

_SCALE: Final = "SELECT points, note, warn, hold FROM screening_scale"
# What a person said: also that it is to be held until somebody decides anew.
_KEEPS: Final = "verdict.decision <> '' OR verdict.state = 'blocked' OR verdict.reopened"
_MOST: Final = 200  # findings of a verdict
_COMPARED: Final = "difference."
_SOURCES: Final = "difference.not-in-sources"
_BY_PAGE: Final = ("attestation.", "publisher.")
_UNREADABLE: Final = "scanner.former-unreadable"

_HELD: Final = """
SELECT findings, former_sha256 FROM screening_verdict
WHERE state = 'held' AND sha256 = %(sha256)s
AND (ecosystem, project, filename) = (%(ecosystem)s, %(project)s, %(filename)s)"""
# Whether the patterns of the verdict are newer than ours, of all that somebody has now: as `again.py` has it.
_NEWER_RULES: Final = f"""EXISTS (
    SELECT FROM screening_rules theirs JOIN screening_rules ours ON ours.digest = excluded.rules
    WHERE theirs.digest = verdict.rules AND {heard_of("theirs")} AND {heard_of("ours")}
    HAVING (min(theirs.changed_at), min(theirs.digest)) > (min(ours.changed_at), min(ours.digest)))"""
_WRITE: Final = f"""
WITH done AS (DELETE FROM screening_job WHERE id = %(job)s AND attempts = %(attempts)s RETURNING id)
INSERT INTO screening_verdict AS verdict
    (sha256, state, reason, at, ecosystem, project, version, filename, level, scale, score, findings, broken,
     scanned_by, rules, former_sha256, seconds, decision, decision_reason)
SELECT %(sha256)s::text, %(state)s, %(reason)s, now(), %(ecosystem)s, %(project)s, %(version)s, %(filename)s,
    %(level)s, %(scale)s, %(score)s, %(findings)s::jsonb, %(broken)s, %(scanned_by)s, %(rules)s,
    %(former_sha256)s, %(seconds)s, '', ''
WHERE %(job)s::bigint IS NULL OR EXISTS (SELECT FROM done)
ON CONFLICT (sha256, ecosystem, project, filename) DO UPDATE SET
    state = CASE WHEN {_KEEPS} THEN verdict.state ELSE excluded.state END,
    reason = CASE WHEN {_KEEPS} THEN verdict.reason ELSE excluded.reason END,
    at = excluded.at,
    version = COALESCE(NULLIF(verdict.version, ''), excluded.version),
    level = excluded.level, scale = excluded.scale, score = excluded.score, findings = excluded.findings,
    broken = excluded.broken, scanned_by = excluded.scanned_by, rules = excluded.rules,
    former_sha256 = excluded.former_sha256,
    seconds = excluded.seconds
WHERE verdict.scanned_by < excluded.scanned_by
    OR verdict.scanned_by = excluded.scanned_by AND NOT {_NEWER_RULES}"""  # noqa: S608 -- of our own words
_OTHERWISE_SCALED: Final = f"""
SELECT id, at, level, score, findings, broken FROM screening_verdict
WHERE scanned_by > 0 AND scale <> %(scale)s::text ORDER BY at DESC LIMIT {_AT_ONCE}"""  # noqa: S608
# A scan that came in between has its say: it knew the scale, or will be found again.
_RESCALE: Final = f"""
UPDATE screening_verdict verdict SET
    level = new.level, score = new.score, scale = %(scale)s::text,
    state = CASE WHEN {_KEEPS} THEN verdict.state ELSE new.state END,
    reason = CASE WHEN {_KEEPS} THEN verdict.reason ELSE new.reason END
FROM jsonb_to_recordset(%(new)s::jsonb)
    AS new (id text, at timestamptz, level text, score integer, state text, reason text)
WHERE verdict.id = new.id AND verdict.at = new.at"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Standard:
    """A scale, and a name for it: equal names, equal scales."""

    scale: scoring.Scale
    name: str


class Verdicts:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._scaled = (
            "",
            0.0,
        )  # by which scale all verdicts were found to be, and until when that is believed

    async def write(
        self, sha256: str, facts: Facts, report: Report, compared: Compared, job: Job | None = None
    ) -> Level:
        """And the job is done, in one transaction; if it is another's by now, neither. Raises `UnavailableError`."""
        standard = await self.standard()
        name = {
            "sha256": sha256,
            "ecosystem": facts.ecosystem,
            "project": facts.project,
            "filename": facts.filename,
        }
        row = await self._database.row(_HELD, name)
        stays = tuple(_that_stays(row, facts, report, compared)) if row else ()
        findings = (*report.findings, *stays)[:_MOST]
        if row and any(each.rule.startswith(_COMPARED) and each.rule != _SOURCES for each in stays):
            former_sha256 = row["former_sha256"]
        else:
            former_sha256 = compared.former_sha256
        level, score = scoring.level_of(findings, standard.scale, broken=report.broken)
        values = (
            _said(level, score, findings, report.broken)
            | name
            | {
                "job": job.id if job else None,
                "attempts": job.attempts if job else None,
                "version": facts.version,
                "scale": standard.name,
                "findings": _storable(msgspec.json.encode(findings)),
                "broken": report.broken.replace("\x00", ""),
                "scanned_by": report.version,
                "rules": report.rules,
                "former_sha256": former_sha256,
                "seconds": report.seconds,
            }
        )
        await self._database.rows(_WRITE, values)
        return level

    async def standard(self) -> Standard:
        """Of two that an admin makes in a row the second one counts, so it is asked for each time."""
        row = await self._database.row(_SCALE, {})
        scale = scoring.DEFAULT
        if row is not None:
            try:
                scale = scoring.from_json(**row)
            except scoring.ScaleError as error:
                logger.error("the scale cannot be read, the default one holds: %s", error)
        told = json.dumps([scoring.points_as_json(scale), scale.note, scale.warn, scale.hold], sort_keys=True)
        return Standard(scale, hashlib.sha256(told.encode()).hexdigest()[:16])

    async def rescale(self) -> bool:
        """Brings some verdicts to the scale that holds; False: all of them are."""
        standard = await self.standard()
        name, until = self._scaled
        if standard.name == name and monotonic() < until:
            return False
        rows = await self._database.rows(_OTHERWISE_SCALED, {"scale": standard.name})
        if not rows:
            self._scaled = standard.name, monotonic() + _BELIEVED
        else:
            new = json.dumps([_rescaled(row, standard.scale) for row in rows])
            await self._database.rows(_RESCALE, {"scale": standard.name, "new": new})
        return bool(rows)


def _that_stays(row: Mapping[str, Any], facts: Facts, report: Report, compared: Compared) -> Iterator[Found]:
    """Of what was found in a held file before, what this scan did not look for: it had less to compare with."""
    unread = bool(report.broken) or any(found.rule == _UNREADABLE for found in report.findings)
    same = not unread and compared.former_sha256 != "" and compared.former_sha256 == row["former_sha256"]
    for found in _readable(row["findings"]):
        if found.rule == _SOURCES:
            looked_for = compared.sources and not report.broken
        elif found.rule.startswith(_COMPARED):
            looked_for = same
        else:
            looked_for = not found.rule.startswith(_BY_PAGE) or facts.former_version != ""
        if not looked_for and found not in report.findings:
            yield found


def _readable(findings: Iterable[Any]) -> Iterator[Found]:
    for each in findings:
        with suppress(msgspec.ValidationError):
            yield msgspec.convert(each, Found)


def _rescaled(row: Mapping[str, Any], scale: scoring.Scale) -> dict[str, Any]:
    """What an older version found and nobody can read any more keeps its level, until it is scanned again."""
    own = {"id": row["id"], "at": row["at"].isoformat()}
    try:
        findings = msgspec.convert(row["findings"], tuple[Found, ...])
    except msgspec.ValidationError:
        return own | _said(Level(row["level"]), row["score"], (), row["broken"])
    return own | _said(
        *scoring.level_of(findings, scale, broken=row["broken"]), findings=findings, broken=row["broken"]
    )


def _said(level: Level, score: int, findings: Sequence[Found], broken: str) -> dict[str, Any]:
    held = level is Level.HOLD
    return {
        "level": level.value,
        "score": score,
        "state": (Screening.HELD if held else Screening.PASSED).value,
        "reason": _storable(reason_of(findings, broken).encode()) if held else "",
    }


def reason_of(findings: Sequence[Found], broken: str) -> str:
    """Why a person has to look, in a sentence: what is gravest, and how much there is besides."""
    if broken:
        return broken
    gravest = sorted(findings, key=lambda found: _GRAVEST_FIRST.index(found.threat))
    if not gravest:
        return "a person has to look"
    first = gravest[0]
    where = f" ({first.path}{f':{first.line}' if first.line else ''})" if first.path else ""
    more = f"; and {len(gravest) - 1} more" if len(gravest) > 1 else ""
    return f"{first.why.rstrip('.')}{where}{more}"


def _storable(text: bytes) -> str:
    """PostgreSQL takes no NUL, escaped or not; an archive's names and code may have any."""
    return text.decode("utf-8", "replace").replace("\\u0000", "\\ufffd").replace("\x00", "�")
