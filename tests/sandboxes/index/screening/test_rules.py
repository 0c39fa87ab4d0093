"""An admin's patterns, followed while they change, by scanners that run already too; and what is wrong with them."""

import asyncio
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandboxes.index.screening import rules as rules_module
from sandboxes.index.screening.rules import Rules
from sandboxes.screening import popular
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner import Scanners
from sandboxes.screening.words import Ecosystem
from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.wheels import make_wheel

ZEBRA = 'rule zebra { meta: threat = "high" strings: $a = "VALUE" condition: $a }'
OTHER = 'rule other { strings: $a = "VALUE" condition: $a }'
WIPES = "import os\nos.system('rm -rf ~/')\n"
FACTS = Facts("demo-1.0-py3-none-any.whl", project="demo", version="1.0")


@pytest.fixture
def floor() -> dict[str, Any]:
    return {"screened": False}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "rules"
    made.mkdir()
    monkeypatch.setenv("SCREENING_RULES", str(made))
    return made


@pytest.fixture
async def scanners() -> AsyncIterator[Scanners]:
    async with Scanners(1) as made:
        yield made


@pytest.fixture
async def rules(index: Index, scanners: Scanners, folder: Path) -> AsyncIterator[Rules]:
    yield Rules(index.database, scanners, folder)
    await index.rows("DELETE FROM screening_rules")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    made = make_wheel("demo", "1.0")
    path = tmp_path / made.filename
    path.write_bytes(made.data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("demo_more.py", WIPES + "# VALUE\n")
    return path


async def _found(scanners: Scanners, wheel: Path) -> tuple[set[str], str]:
    """Which patterns a scan finds, and the rules that it says it went by."""
    report = await scanners.scan(wheel, FACTS)
    assert not report.broken
    return {each.rule for each in report.findings if each.rule.startswith("yara.")}, report.rules


async def _row(index: Index) -> dict[str, Any]:
    [row] = await index.rows("SELECT * FROM screening_rules")
    return dict(row)


async def test_what_changes_in_the_folder_counts_for_scanners_that_run(
    index: Index, rules: Rules, scanners: Scanners, folder: Path, wheel: Path
) -> None:
    await rules.look()
    assert await _found(scanners, wheel) == ({"yara.wipes"}, rules.digest)
    first, pids = await _row(index), scanners.pids()
    assert (first["added"], first["ours"] > 20, first["problems"]) == (0, True, [])
    await rules.look()
    assert scanners.pids() == pids  # nothing changed
    digests = {rules.digest}
    for content, found in (
        (ZEBRA, {"yara.wipes", "yara.mine.zebra"}),
        (OTHER, {"yara.wipes", "yara.mine.other"}),
    ):
        (folder / "mine.yar").write_text(content)
        await rules.look()
        assert await _found(scanners, wheel) == (found, rules.digest)
        row = await _row(index)
        assert (row["added"], row["digest"], row["changed_at"] > first["changed_at"]) == (
            1,
            rules.digest,
            True,
        )
        digests.add(rules.digest)
    (folder / "mine.yar").unlink()
    await rules.look()
    assert await _found(scanners, wheel) == ({"yara.wipes"}, first["digest"])
    assert len(digests) == 3


async def test_a_file_that_is_wrong_is_said_by_line_and_the_others_hold(
    index: Index, rules: Rules, scanners: Scanners, folder: Path, wheel: Path
) -> None:
    (folder / "mine.yar").write_text(ZEBRA)
    await rules.look()
    before = rules.digest
    (folder / "bad.yar").write_text("rule a {\n  condition:\n    $nothing\n}\n")
    await rules.look()
    assert await _found(scanners, wheel) == (
        {"yara.wipes", "yara.mine.zebra"},
        before,
    )  # so nothing is scanned again
    [problem] = (await _row(index))["problems"]
    assert (problem["file"], problem["line"]) == ("bad.yar", 3)
    assert "unknown pattern" in problem["message"]


async def test_rules_that_cannot_be_compiled_in_time_are_left_out_and_ours_hold(
    index: Index, rules: Rules, scanners: Scanners, folder: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rules.look()
    ours = rules.digest
    (folder / "mine.yar").write_text(ZEBRA)
    told, asked = rules_module.told, []

    async def never(*, without: bool = False) -> Any:
        asked.append(without)
        return await told(without=True) if without else None

    monkeypatch.setattr(rules_module, "told", never)
    await rules.look()
    assert asked == [False, True]
    assert await _found(scanners, wheel) == ({"yara.wipes"}, ours)
    row = await _row(index)
    assert (row["added"], row["problems"][0]["file"]) == (0, str(folder))
    monkeypatch.undo()
    monkeypatch.setenv("SCREENING_RULES", str(folder))
    monkeypatch.setattr(rules_module, "_LONGEST", 0.0)
    assert await told() is None


async def test_a_newer_list_of_popular_names_is_another_set_of_rules(
    index: Index,
    rules: Rules,
    scanners: Scanners,
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    await rules.look()
    shipped = rules.digest
    assert (await _found(scanners, wheel))[1] == shipped
    newer = popular.newer_list(Ecosystem.PYPI)
    newer.parent.mkdir()
    newer.write_text("some\nnames\n")
    await rules.look()
    assert (await _found(scanners, wheel))[1] == rules.digest != shipped
    newer.unlink()
    await rules.look()
    assert rules.digest == shipped


async def test_a_folder_that_is_removed_is_said(
    index: Index, rules: Rules, scanners: Scanners, folder: Path, wheel: Path
) -> None:
    folder.rmdir()  # noqa: ASYNC240
    await rules.look()
    assert (await _found(scanners, wheel))[0] == {"yara.wipes"}
    assert "No such file" in (await _row(index))["problems"][0]["message"]


async def test_places_say_since_when_they_have_what_they_have(
    index: Index, scanners: Scanners, rules: Rules, folder: Path
) -> None:
    there = Rules(index.database, scanners, folder)
    there.place = "there"
    gone = Rules(index.database, scanners, folder)
    gone.place = "gone"
    for each in (gone, rules, there):
        await each.look()
    since = {row["place"]: row["changed_at"] for row in await index.rows("SELECT * FROM screening_rules")}
    assert len(since) == 3
    assert len(set(since.values())) == 1  # the same rules, since the same moment
    await index.rows(
        "UPDATE screening_rules SET seen_at = now() - interval '11 minutes' WHERE place = 'gone'"
    )
    (folder / "mine.yar").write_text(ZEBRA)
    await there.look()
    now = {row["place"]: row["changed_at"] for row in await index.rows("SELECT * FROM screening_rules")}
    assert set(now) == {rules.place, "there"}
    assert (now[rules.place], now["there"] > since["there"]) == (since[rules.place], True)


async def test_a_scan_under_way_ends_with_the_rules_that_it_began_with(
    rules: Rules, scanners: Scanners, folder: Path, wheel: Path
) -> None:
    await rules.look()
    before = rules.digest
    scan = asyncio.create_task(_found(scanners, wheel))
    await asyncio.sleep(0)
    (folder / "mine.yar").write_text(ZEBRA)
    await rules.look()
    assert (await scan)[1] in (before, rules.digest)
    assert await _found(scanners, wheel) == ({"yara.wipes", "yara.mine.zebra"}, rules.digest)
