"""Every setting that is read from the environment stands in a document, those of the index in a table."""

from pathlib import Path

import pytest

from tests.settings_read import READERS, ROOT, SETTING, read_by

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _tables(path: Path) -> set[str]:
    """What the first column of each table of settings names."""
    found: set[str] = set()
    inside = False
    for line in path.read_text().splitlines():
        inside = line.startswith("| setting ") or (inside and line.startswith("|"))
        if inside:
            found |= set(SETTING.findall(line.split("|")[1]))
    return found


@pytest.mark.parametrize("reader", READERS)
def test_what_is_read_is_documented(reader: str) -> None:
    documented: set[str] = set().union(*(SETTING.findall(path.read_text()) for path in DOCUMENTS))
    assert read_by(reader) - documented == set()


def test_the_index_and_the_egress_proxy_have_all_of_theirs_in_a_table() -> None:
    tables: set[str] = set().union(*map(_tables, DOCUMENTS))
    read = {name for reader in READERS for name in read_by(reader) if name.startswith(("INDEX_", "EGRESS_"))}
    assert read - tables == set()
