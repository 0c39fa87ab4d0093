"""The benchmark of files at a tiny size, so that it cannot rot. What it measures is not looked at here."""

from argparse import Namespace
from pathlib import Path

import pytest

from bench.index import files
from portal.accounts.models import User
from tests.sandboxes.index.conftest import _set_floor, database_url


@pytest.mark.django_db(transaction=True)
def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _set_floor({})
    User.objects.create(username="bench", department="bench")
    monkeypatch.setenv("DATABASE_URL", database_url())
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    sizes = Namespace(rounds=1, megabytes=1, clients=5, away=5, rate=0.0, seconds=0.05, large=2_000_000)
    options = Namespace(**vars(sizes), peers="none")
    assert files.run(options, tmp_path) == 0
    assert "5 clients of a cold 1 MB file" in capsys.readouterr().out
