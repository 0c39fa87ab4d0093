"""What the detectors find and what they take for an attack that is none: the most used wheels, and the inert attacks.

    .venv/bin/python -m bench.screening.quality [--popular 200] [--wheels FOLDER] [--python 3.13] [--guarddog]

Every file is scanned as the index has it scanned, in a child of its own with limits, and judged by the default
scale. The most used projects are the first of the shipped list (`sandboxes/screening/popular`); their newest wheels
come through an index of ours once and are kept. --wheels takes wheels that are there instead. Each wheel is scanned
twice: beside the release before it, as when the index has that one already, and alone, as when a company meets the
project for the first time; so is an attack that has a former release. Files are scanned one after the other, so a
time is what one client waits; a first file, which is not counted, starts the child.

An attack is caught at warn or above. Precision and recall are over these files alone: among all that is published,
attacks are far rarer. --guarddog runs GuardDog over the same files, which takes some seconds each.
"""

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from bench.index.aims import HEAD, Aim, row, table
from bench.screening import attacks, guarddog, popular_wheels
from bench.screening.attacks.attack import Attack
from bench.screening.attacks.building import Built, build
from bench.screening.popular_wheels import Wheel
from bench.world import load, say
from sandboxes.screening import popular, scoring
from sandboxes.screening.findings import Level, Report
from sandboxes.screening.scanner import Scanners
from sandboxes.screening.words import Ecosystem

_ORDER = list(Level)
_CAUGHT = Aim(24 / 25 * 100, 100, unit=" %")
_HELD = Aim(1, 0, most=True, unit=" %")  # 2 of 200
_MEDIAN = Aim(150, 50, most=True, unit=" ms")
_P95 = Aim(2000, 500, most=True, unit=" ms")
_QUALITY = ("from", "attacks", "wheels", "precision", "recall")


@dataclass(frozen=True)
class Seen:
    """One file, and what came of it."""

    name: str
    level: Level
    milliseconds: float
    rules: tuple[str, ...]
    score: int = 0
    broken: str = ""
    cpu: float = 0.0  # milliseconds, of the scanner's child

    def at_least(self, level: Level) -> bool:
        return _ORDER.index(self.level) >= _ORDER.index(level)

    def caught(self, level: Level = Level.WARN) -> bool:
        """For what it is: a scan that failed holds anything."""
        return self.at_least(level) and not self.broken

    def __str__(self) -> str:
        return f"{self.name} ({self.score}): {self.broken or ', '.join(self.rules) or 'nothing'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--popular", type=int, default=200, help="so many projects")
    parser.add_argument("--wheels", type=Path, default=None, help="a folder of wheels instead")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=here, help="whose wheels are fetched")
    parser.add_argument("--guarddog", action="store_true")
    return run(parser.parse_args())


def run(options: argparse.Namespace) -> int:
    """0, whatever the figures are."""
    if options.wheels is not None:
        wheels = popular_wheels.of_folder(options.wheels)
    else:
        names = popular.names(Ecosystem.PYPI)
        wheels = popular_wheels.of_projects(names, options.popular, options.python)
    with tempfile.TemporaryDirectory(prefix="petridish-bench-") as folder:
        built = [(attack, build(attack, Path(folder))) for attack in attacks.ALL]
        pairs = sum(wheel.former is not None for wheel in wheels)
        counted = f"{len(wheels)} wheels of {_megabytes(wheels)}, {pairs} with the release before"
        say(f"{load()}; {counted}; {len(built)} attacks")
        scanned = asyncio.run(_scanned(built, wheels))
        _tell(built, scanned)
        if options.guarddog:
            _beside(built, wheels)
    say(load())
    return 0


def _megabytes(wheels: Sequence[Wheel]) -> str:
    return f"{sum(wheel.path.stat().st_size for wheel in wheels) / 1e6:.0f} MB"


@dataclass(frozen=True)
class Scanned:
    """Attacks and wheels, beside the releases before them as far as there are such, and alone."""

    bad: list[Seen]
    good: list[Seen]
    bad_alone: list[Seen]  # all of them: one without a former release was alone already
    good_alone: list[Seen]  # only those that have one


async def _scanned(built: Sequence[tuple[Attack, Built]], wheels: Sequence[Wheel]) -> Scanned:
    scanners = Scanners(1)
    try:
        _, first = built[0]
        await scanners.scan(first.path, first.facts)
        bad = [await _seen(scanners, attack.name, each) for attack, each in built]
        bad_alone = [
            await _seen(scanners, attack.name, replace(each, former=None)) if each.former else seen
            for (attack, each), seen in zip(built, bad, strict=True)
        ]
        pairs = [Built(wheel.path, wheel.facts, wheel.former) for wheel in wheels]
        good = [await _seen(scanners, pair.path.name, pair) for pair in pairs]
        again = [replace(pair, former=None) for pair in pairs if pair.former]
        alone = [await _seen(scanners, pair.path.name, pair) for pair in again]
    finally:
        await scanners.close()
    return Scanned(bad, good, bad_alone, alone)


async def _seen(scanners: Scanners, name: str, file: Built) -> Seen:
    used, begin = _children_cpu(), time.perf_counter()
    report = await scanners.scan(file.path, file.facts, file.former)
    took = (time.perf_counter() - begin) * 1000
    return judged(name, report, took, _children_cpu() - used)


def _children_cpu() -> float:
    """Milliseconds, of those that live and of those that ended: a scan that was killed used all that it was given."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = (ended.ru_utime + ended.ru_stime) * 1000
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            found += (times.user + times.system) * 1000
    return found


def judged(name: str, report: Report, milliseconds: float, cpu: float = 0.0) -> Seen:
    level, score = scoring.level_of(report.findings, scoring.DEFAULT, broken=report.broken)
    counted = Counter(found.rule for found in report.findings)
    rules = tuple(f"{rule} ×{count}" if count > 1 else rule for rule, count in counted.items())
    return Seen(name, level, milliseconds, rules, score, report.broken, cpu)


# ---- what is told


def _tell(built: Sequence[tuple[Attack, Built]], scanned: Scanned) -> None:
    bad, good, alone = scanned.bad, scanned.good, scanned.good_alone
    say("\nAttacks that were missed:")
    _listed(each for each in bad if not each.caught())
    say("\nAttacks that were missed alone, without their former releases:")
    _listed(each for each in scanned.bad_alone if not each.caught())
    say("\nAttacks that were caught by something else than expected:")
    expected = {attack.name: attack.expects for attack, _ in built}
    _listed(each for each in bad if each.caught() and not _as_expected(each, expected[each.name]))
    for level in (Level.HOLD, Level.WARN):
        say(f"\nOf the {len(good)} wheels at {level}:")
        _listed(each for each in good if each.level is level)
    say("")
    say(table(HEAD, [*_rows(bad, good), *_times("a popular wheel alone", alone)]))
    say("")
    say(table(_QUALITY, _quality(bad, good)))
    if alone:
        say("\nThe same alone, without the releases before them:")
        say(table(_QUALITY, _quality(scanned.bad_alone, alone)))


def _listed(seen: Iterable[Seen]) -> None:
    lines = [f"  {each}" for each in seen]
    say("\n".join(lines) or "  none")


def _as_expected(seen: Seen, families: Iterable[str]) -> bool:
    return not {rule.split(".")[0] for rule in seen.rules}.isdisjoint(families)


def _rows(bad: Sequence[Seen], good: Sequence[Seen]) -> Iterable[list[str]]:
    caught = [each for each in bad if each.caught()]
    yield row("attacks caught", _share(caught, bad), _CAUGHT, f"{len(caught)} of {len(bad)}")
    if not good:
        return
    held = [each for each in good if each.at_least(Level.HOLD)]
    yield row("popular wheels held", _share(held, good), _HELD, f"{len(held)} of {len(good)}")
    yield from _times("a popular wheel", good)


def _times(what: str, seen: Sequence[Seen]) -> Iterable[list[str]]:
    if not seen:
        return
    times, cpu = [each.milliseconds for each in seen], [each.cpu for each in seen]
    used = f"CPU {statistics.median(cpu):.0f} ms"
    yield row(f"{what}, median", statistics.median(times), _MEDIAN, used)
    yield row(f"{what}, 95th percentile", _p95(times), _P95, f"CPU {_p95(cpu):.0f} ms")


def _p95(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) * 95 // 100]


def _share(some: Sequence[object], of: Sequence[object]) -> float:
    return 100 * len(some) / len(of)


def _quality(bad: Sequence[Seen], good: Sequence[Seen]) -> Iterable[list[str]]:
    """At each level from which one could act."""
    for level in (Level.WARN, Level.HOLD):
        caught = [each for each in bad if each.caught(level)]
        wrong = [each for each in good if each.at_least(level)]
        said = [*caught, *wrong]
        precision = f"{_share(caught, said):.1f} %" if bad and good and said else ""
        recall = f"{_share(caught, bad):.1f} %" if bad else ""
        yield [level, f"{len(caught)} of {len(bad)}", f"{len(wrong)} of {len(good)}", precision, recall]


# ---- GuardDog


def _beside(built: Sequence[tuple[Attack, Built]], wheels: Sequence[Wheel]) -> None:
    try:
        folder = guarddog.environment()
    except guarddog.LackingError as error:
        say(f"\nGuardDog is left out: {error}")
        return
    bad = _by_guarddog(folder, [(attack.name, file.path, file.facts.ecosystem) for attack, file in built])
    good = _by_guarddog(folder, [(wheel.path.name, wheel.path, "pypi") for wheel in wheels])
    say("\nGuardDog; attacks that it missed:")
    _listed(each for each in bad if not each.caught())
    say("\n" + table(("GuardDog, from", *_QUALITY[1:]), _quality(bad, good)))
    if times := sorted(each.milliseconds for each in good or bad):
        say(f"a file: median {statistics.median(times):.0f} ms, 95th percentile {_p95(times):.0f} ms")


def _by_guarddog(folder: Path, files: Sequence[tuple[str, Path, str]]) -> list[Seen]:
    """Those that it answered; who got no answer is told."""
    found = []
    for name, path, ecosystem in files:
        try:
            said = guarddog.scan(folder, path, ecosystem)
        except guarddog.LackingError as error:
            say(f"GuardDog says nothing of {error}")
            continue
        if said.level is None:
            say(f"GuardDog needs more than {guarddog.PATIENCE} s for {name}")
            continue
        found.append(Seen(name, said.level, said.seconds * 1000, said.rules))
    return found


if __name__ == "__main__":
    sys.exit(main())
