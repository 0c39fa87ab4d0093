"""Which settings are read from the environment: the names among the texts of the modules that read them."""

import ast
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
READERS: Final = (
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "portal").glob("env*.py")),
    "sandboxes/index/config.py",
    "sandboxes/index/egress/config.py",
    "sandboxes/index/screening/config.py",
    "sandboxes/screening/environment.py",
)
SETTING: Final = re.compile(r"\b(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PORT|BIND|KUBECONFIG)\b")


def read_by(path: str) -> set[str]:
    """The names of settings among a module's texts."""
    tree = ast.parse((ROOT / path).read_text())
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if SETTING.fullmatch(text)}


def all_read() -> set[str]:
    return set[str]().union(*map(read_by, READERS))
