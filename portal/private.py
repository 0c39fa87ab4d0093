"""Files that only the person who runs Petridish may read."""

import os
import secrets
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replaces `path` in one step: never half-written, and at no moment readable by others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def folder(path: Path) -> Path:
    """The folder, made when missing, closed to others."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path
