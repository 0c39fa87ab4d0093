"""The number that verdicts carry stands for the code that came to them."""

from pathlib import Path

import pytest

from sandboxes.screening.scanner import VERSION, digest


def test_the_version_stands_for_the_code_as_it_is() -> None:
    assert digest.stored() == digest.now(), (
        "What scans is not what VERSION stands for: raise it in sandboxes/screening/scanner/version.py and run"
        " `python -m sandboxes.screening.scanner.digest` (with --same, and the same number, if it finds the same in"
        " every file)."
    )


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector and a rule, as stored."""
    for name in ("archives", "detectors/rules", "popular", "scanner"):
        (tmp_path / name).mkdir(parents=True)
    for name in digest._FILES:
        (tmp_path / name).write_text("")
    (tmp_path / "detectors/one.py").write_text("def look():\n    return 1\n")
    (tmp_path / "detectors/rules/one.yar").write_text("rule one {}")
    monkeypatch.setattr(digest, "_SCREENING", tmp_path)
    monkeypatch.setattr(digest, "_STORED", tmp_path / "digest")
    (tmp_path / "digest").write_text(f"{digest.now()}\n")
    return tmp_path


def test_a_comment_is_no_change(code: Path) -> None:
    (code / "detectors/one.py").write_text("# why\ndef look():\n    return (1)\n")
    assert digest.stored() == digest.now()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("detectors/one.py", "def look():\n    return 2\n"),
        ("detectors/rules/one.yar", "rule other {}"),
        ("archives/new.py", ""),
        ("package.py", "x = 1"),
    ],
)
def test_what_changes_is_stored_under_another_number(
    code: Path, path: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code / path).write_text(text)
    assert digest.stored() != digest.now()
    assert digest.main(same=False) == 1
    assert "raise VERSION" in capsys.readouterr().err
    assert digest.stored() != digest.now()
    monkeypatch.setattr(digest, "VERSION", VERSION + 1)
    assert digest.main(same=False) == 0
    assert digest.stored() == digest.now() == f"{VERSION + 1} {digest.now().split()[1]}"


def test_what_finds_the_same_may_keep_its_number(code: Path) -> None:
    (code / "detectors/one.py").write_text("def look():\n    return 1 + 0\n")
    assert digest.main(same=True) == 0
    assert digest.stored() == digest.now()
