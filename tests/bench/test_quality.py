"""The benchmark of the detectors at a tiny size, so that it cannot rot. What it measures is not looked at here."""

import shutil
from argparse import Namespace
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging import tags

from bench.index import running, wheels
from bench.index.upstream import OLDER
from bench.screening import attacks, choosing, guarddog, popular_wheels, quality
from bench.screening.attacks.building import Built, build_former
from bench.world import free_port
from portal.accounts.models import User
from sandboxes.index.page import File, Page
from sandboxes.screening.findings import Ability, Found, Level, Report, Threat
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner import Scanners
from tests.sandboxes.index.conftest import _set_floor, database_url
from tests.sandboxes.screening import packages
from tests.sandboxes.screening.archives import made
from tests.sandboxes.screening.scanner.test_pool import HOSTILE


def test_quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wheels.make_set(tmp_path, "one")
    monkeypatch.setattr(attacks, "ALL", attacks.ALL[:2])
    monkeypatch.setattr(guarddog, "UV", None)
    monkeypatch.setattr(guarddog, "ROOT", tmp_path)
    options = Namespace(wheels=tmp_path / "one-part3", popular=0, python="3.13", guarddog=True)
    assert quality.run(options) == 0
    said = capsys.readouterr().out
    assert "1 wheels of" in said
    assert "| attacks caught | 100 % |" in said
    assert "| popular wheels held | 0 % |" in said
    assert "| warn | 2 of 2 | 0 of 1 | 100.0 % | 100.0 % |" in said
    assert "GuardDog is left out: there is no uv" in said


def test_attacks_with_a_former_release_are_scanned_alone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the comparison alone told is not caught in a project that nobody met before."""
    attack = next(each for each in attacks.ALL if each.name == "miner-in-constructor")
    former = build_former(attack, tmp_path)
    monkeypatch.setattr(attacks, "ALL", [attack])
    wheel = popular_wheels.Wheel(former.path, former.facts, former.path)
    monkeypatch.setattr(popular_wheels, "of_folder", lambda folder: [wheel])
    quality.run(Namespace(wheels=tmp_path, popular=0, python="3.13", guarddog=False))
    beside, alone = capsys.readouterr().out.split("The same alone, without the releases before them:")
    assert "| warn | 1 of 1 |" in beside
    assert "| warn | 0 of 1 |" in alone


async def test_a_scan_that_is_killed_counts_as_what_it_was_given(tmp_path: Path) -> None:
    file = packages.saved(made.wheel({"thing.py": b"x = 1\n"}), tmp_path, "thing-1.0-py3-none-any.whl")
    facts = replace(made.WHEEL, project="endless")
    async with Scanners(1, module=HOSTILE, seconds=1) as scanners:
        seen = await quality._seen(scanners, "endless", Built(file, facts, None))
    assert "used up its 1 s" in seen.broken
    assert seen.cpu >= 1000


def test_a_file_is_judged_by_the_default_scale() -> None:
    found = Found("x.y", Ability.START, Threat.HIGH, "why")
    seen = quality.judged("a", Report(findings=(found, found)), 1.0)
    assert (seen.level, seen.rules) == (Level.WARN, ("x.y ×2",))
    assert seen.at_least(Level.NOTE)
    assert not seen.at_least(Level.HOLD)
    assert quality.judged("a", Report(broken="cut short"), 1.0).at_least(Level.HOLD)


@pytest.mark.django_db(transaction=True)
def test_wheels_come_through_the_index_with_the_release_before_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _set_floor({})
    User.objects.create(username="bench", department="bench")
    monkeypatch.setenv("DATABASE_URL", database_url())
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    wheels.make_set(tmp_path / "packages", "one")
    for older in (tmp_path / "packages").glob(f"*/{OLDER}"):
        older.unlink()  # versions of which there are no files
    (newest,) = (tmp_path / "packages" / "one-part40").glob("*.whl")
    shutil.copy(newest, newest.with_name("one_part40-0.99-py3-none-any.whl"))
    upstream, kept = free_port(), tmp_path / "kept"
    names = ["one-missing", "one-part40", "one-part3", "one-part4"]
    with running.module("bench.index.upstream", str(tmp_path / "packages"), str(upstream), "1", "0"):
        running.wait_for(upstream)
        monkeypatch.setenv("INDEX_UPSTREAM", f"http://127.0.0.1:{upstream}/simple/")
        with popular_wheels.index(tmp_path) as url:
            popular_wheels.fetch(url, names, 2, "3.12", kept)
    assert "one-missing: " in capsys.readouterr().out
    # Nothing runs any more that could be asked; the one that is missing made way for the next.
    names.remove("one-missing")
    [wheel, _] = popular_wheels.of_projects(names, 2, "3.12", kept)
    assert wheel.path == kept / "one_part40-1.0-py3-none-any.whl"
    assert wheel.path.read_bytes() == newest.read_bytes()
    assert (wheel.facts.version, wheel.facts.former_version) == ("1.0", "0.99")
    assert wheel.facts.project_since
    assert wheel.former == kept / "former" / "one_part40-0.99-py3-none-any.whl"
    assert wheel in popular_wheels.of_folder(kept)


def _file(filename: str, **more: object) -> File:
    version = filename.split("-")[1]
    return File(filename, version, "0" * 64, f"https://x.test/{filename}", **more)  # type: ignore[arg-type]


def test_the_wheel_that_an_installer_would_take_is_chosen() -> None:
    files = (
        _file("a-1.0-py3-none-any.whl"),
        _file("a-2.0-py3-none-any.whl"),
        _file(f"a-2.0-cp312-cp312-{next(tags.platform_tags())}.whl"),
        _file("a-2.1-cp39-cp39-win32.whl"),
        _file("a-2.2-py3-none-any.whl", yanked=True),
        _file("a-2.3-py3-none-any.whl", requires_python=">=3.99"),
        _file("a-3.0b1-py3-none-any.whl"),
    )
    page = Page("a", (), files)
    assert choosing.newest(page, "3.12") == files[2]
    assert choosing.newest(page, "3.11") == files[1]
    # As a last resort.
    assert choosing.newest(Page("a", (), files[-1:]), "3.12") == files[-1]
    assert choosing.newest(Page("a", (), files[3:4]), "3.12") is None
    former = choosing.former(page, Facts(filename="a-2.0-py3-none-any.whl", former_version="1.0"))
    assert former == files[0]


def test_guarddog_is_asked_once_and_who_gets_no_answer_is_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\necho . >> asked\ncase "$4" in *slow*) exec sleep 60;; esac\n'
        'echo \'{"risk_score": {"label": "suspicious"}, "results": {"threat-a": {"x": 1}, "threat-b": {}}}\'\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(guarddog, "PATIENCE", 1)
    fast, slow = tmp_path / "fast.whl", tmp_path / "slow.whl"
    fast.write_text("fast")
    slow.write_text("slow")
    for _ in range(2):
        [seen] = quality._by_guarddog(tmp_path, [("fast", fast, "pypi"), ("slow", slow, "pypi")])
        assert (seen.name, seen.level, seen.rules) == ("fast", Level.WARN, ("threat-a",))
        assert "more than 1 s for slow" in capsys.readouterr().out
    assert (tmp_path / "asked").read_text().count(".") == 2


def test_a_wheel_whose_page_nobody_saw_is_known_by_its_name(tmp_path: Path) -> None:
    wheels.make_set(tmp_path, "one")
    [wheel] = popular_wheels.of_folder(tmp_path / "one-part3")
    assert wheel.facts == Facts(filename="one_part3-1.0-py3-none-any.whl", project="one-part3", version="1.0")
