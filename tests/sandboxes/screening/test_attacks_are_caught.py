"""Each inert re-creation of a known attack is caught, and the releases before them are not."""

import asyncio
import re

import pytest

from bench.screening import attacks
from bench.screening.attacks import held_out
from bench.screening.attacks.attack import Attack
from bench.screening.attacks.building import build, build_former
from sandboxes.screening import scoring
from sandboxes.screening.findings import Level, Report
from sandboxes.screening.package import Kind
from sandboxes.screening.scanner import Scanners

FORMERS = [attack for attack in attacks.ALL if attack.former]


def _name(attack: Attack) -> str:
    return attack.name


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Of every attack, and under "before NAME" of the release before it. One child scans them all."""
    folder = tmp_path_factory.mktemp("attacks")

    async def scanned() -> dict[str, Report]:
        scanners = Scanners(1)
        found = {}
        try:
            for attack in attacks.ALL:
                file = build(attack, folder)
                found[attack.name] = await scanners.scan(file.path, file.facts, file.former)
            for attack in FORMERS:
                file = build_former(attack, folder)
                found[f"before {attack.name}"] = await scanners.scan(file.path, file.facts)
        finally:
            await scanners.close()
        return found

    return asyncio.run(scanned())


CAUGHT = [attack for attack in attacks.ALL if attack.name not in held_out.MISSED]


def test_what_is_missed_is_no_more_than_what_we_say(reports: dict[str, Report]) -> None:
    """Whoever makes a detector catch one of them takes it out of that list, and out of the README."""
    for name in held_out.MISSED:
        level, _ = scoring.level_of(reports[name].findings, scoring.DEFAULT)
        assert level in (Level.CLEAN, Level.NOTE), name


@pytest.mark.parametrize("attack", CAUGHT, ids=_name)
def test_an_attack_is_caught(attack: Attack, reports: dict[str, Report]) -> None:
    report = reports[attack.name]
    assert not report.broken  # which would hold anything
    level, score = scoring.level_of(report.findings, scoring.DEFAULT)
    assert level in (Level.WARN, Level.HOLD), f"{score} points: {report}"
    families = {found.rule.split(".")[0] for found in report.findings}
    assert families & attack.expects, report


@pytest.mark.parametrize("attack", FORMERS, ids=_name)
def test_the_release_before_it_is_not(attack: Attack, reports: dict[str, Report]) -> None:
    report = reports[f"before {attack.name}"]
    assert not report.broken
    level, score = scoring.level_of(report.findings, scoring.DEFAULT)
    assert level in (Level.CLEAN, Level.NOTE), f"{score} points: {report}"


def test_there_are_enough_of_every_kind() -> None:
    assert len(attacks.ALL) >= 28
    assert len({attack.name for attack in attacks.ALL}) == len(attacks.ALL)
    assert {attack.kind for attack in attacks.ALL} == set(Kind)
    assert all(re.search(r"\b20[12]\d\b", attack.recreates) for attack in attacks.ALL)
