"""The benchmark of the detectors at a tiny size, so that it cannot rot. What it measures is not looked at here."""

from argparse import Namespace
from pathlib import Path

import pytest

from bench.index import running, wheels
from bench.screening import attacks, guarddog, popular_wheels, quality
from bench.world import free_port
from portal.accounts.models import User
from sandboxes.screening.findings import Ability, Found, Level, Report, Threat
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import _set_floor, database_url


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


def test_a_file_is_judged_by_the_default_scale() -> None:
    found = Found("x.y", Ability.START, Threat.HIGH, "why")
    seen = quality.judged("a", Report(findings=(found, found)), 1.0)
    assert (seen.level, seen.rules) == (Level.WARN, ("x.y ×2",))
    assert seen.at_least(Level.NOTE)
    assert not seen.at_least(Level.HOLD)
    assert quality.judged("a", Report(broken="cut short"), 1.0).at_least(Level.HOLD)


@pytest.mark.django_db(transaction=True)
def test_wheels_come_through_the_index_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _set_floor({})
    User.objects.create(username="bench", department="bench")
    monkeypatch.setenv("DATABASE_URL", database_url())
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    wheels.make_set(tmp_path / "packages", "one")
    upstream, kept = free_port(), tmp_path / "kept"
    with running.module("bench.index.upstream", str(tmp_path / "packages"), str(upstream), "1", "0"):
        running.wait_for(upstream)
        monkeypatch.setenv("INDEX_UPSTREAM", f"http://127.0.0.1:{upstream}/simple/")
        with popular_wheels.index(tmp_path) as url:
            popular_wheels.fetch(url, ["one-part40", "one-missing"], "3.12", kept)
    # Nothing runs any more that could be asked.
    [wheel] = popular_wheels.of_projects(["one-part40", "one-missing"], "3.12", kept)
    assert wheel.path == kept / "one_part40-1.0-py3-none-any.whl"
    assert wheel.path.read_bytes() == (tmp_path / "packages/one-part40" / wheel.path.name).read_bytes()
    assert wheel.facts.version == "1.0"
    assert wheel.facts.releases == 61
    assert wheel.facts.project_since
    assert popular_wheels.of_folder(kept) == [wheel]


def test_a_wheel_whose_page_nobody_saw_is_known_by_its_name(tmp_path: Path) -> None:
    wheels.make_set(tmp_path, "one")
    [wheel] = popular_wheels.of_folder(tmp_path / "one-part3")
    assert wheel.facts == Facts(filename="one_part3-1.0-py3-none-any.whl", project="one-part3", version="1.0")
