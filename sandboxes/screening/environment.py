"""What screening reads from the environment, in the scanner's children too. Pure."""

import os
from pathlib import Path

RULES = "SCREENING_RULES"  # the variable
_ROOT = Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    return Path(os.environ.get("DATA_DIR") or _ROOT / ".data").expanduser().resolve()


def rules_folder() -> Path | None:
    """Of YARA rules that the admin added to ours; None: there is none."""
    folder = os.environ.get(RULES)
    return Path(folder).expanduser().resolve() if folder else None
