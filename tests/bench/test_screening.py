"""The benchmark of advisories at a tiny size, so that it cannot rot; its figures are not looked at."""

from argparse import Namespace
from pathlib import Path

import pytest

from bench.screening import advisories
from tests.sandboxes.index.conftest import _set_floor, database_url
from tests.sandboxes.screening.documents import as_zip, document


@pytest.mark.django_db(transaction=True)
def test_advisories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Committed, because the index asks over a connection of its own."""
    _set_floor({})
    monkeypatch.setenv("DATABASE_URL", database_url())
    dump = as_zip(tmp_path / "all.zip", document("X-1"))
    assert advisories.run(Namespace(records=1000, zip=dump)) == 0
    told = capsys.readouterr().out
    assert "1000 records, 1000 new, 0 changed, 0 unchanged, 0 broken" in told
    assert "1000 records, 0 new, 10 changed, 990 unchanged, 0 broken" in told
    assert "busy: 2 rows" in told
    assert "busy, by the index: first file, with loading, " in told
