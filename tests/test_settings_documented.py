"""Every setting that is read from the environment stands in a document, those of the index in a table."""

import ast
import re
from pathlib import Path

import pytest

from tests.plugin import ROOT

READERS = (
    "portal/env.py",
    "portal/env_engine.py",
    "portal/env_screening.py",
    "sandboxes/index/config.py",
    "sandboxes/index/egress/config.py",
    "sandboxes/index/screening/config.py",
    "sandboxes/screening/environment.py",
)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_SETTING = re.compile(r"\b(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PORT|BIND|KUBECONFIG)\b")


def _read(path: str) -> set[str]:
    """The names of settings among a module's texts."""
    tree = ast.parse((ROOT / path).read_text())
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if _SETTING.fullmatch(text)}


def _tables(path: Path) -> set[str]:
    """What the first column of each table of settings names."""
    found: set[str] = set()
    inside = False
    for line in path.read_text().splitlines():
        inside = line.startswith("| setting ") or (inside and line.startswith("|"))
        if inside:
            found |= set(_SETTING.findall(line.split("|")[1]))
    return found


@pytest.mark.parametrize("reader", READERS)
def test_what_is_read_is_documented(reader: str) -> None:
    documented: set[str] = set().union(*(_SETTING.findall(path.read_text()) for path in DOCUMENTS))
    assert _read(reader) - documented == set()


def test_the_index_and_the_egress_proxy_have_all_of_theirs_in_a_table() -> None:
    tables: set[str] = set().union(*map(_tables, DOCUMENTS))
    read = {name for reader in READERS for name in _read(reader) if name.startswith(("INDEX_", "EGRESS_"))}
    assert read - tables == set()
