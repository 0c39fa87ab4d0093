"""`python -m sandboxes.screening.scanner.digest`: stores which code `VERSION` stands for.

A detector that changes finds something else in files that were scanned, so `VERSION` has to be raised, and a test
fails until that was done and stored here. With `--same` a change is stored that finds nothing else, under the same
number. Comments and the layout of code do not count.
"""

import ast
import hashlib
import sys
from pathlib import Path
from typing import Final

from sandboxes.screening.scanner.version import VERSION

_SCREENING: Final = Path(__file__).resolve().parents[1]
_FOLDERS: Final = ("archives", "detectors", "popular", "scanner")
_FILES: Final = ("findings.py", "package.py", "versions.py")
_SUFFIXES: Final = frozenset((".py", ".yar", ".txt"))
_STORED: Final = Path(__file__).with_name("digest")
# What says the number, and what is no part of a scan.
_ASIDE: Final = frozenset(("version.py", "digest.py", "refreshing.py"))


def now() -> str:
    """The number, and a digest of the code as it is."""
    digest = hashlib.sha256()
    for path in sorted(_code()):
        data = path.read_bytes()
        said = ast.unparse(ast.parse(data)).encode() if path.suffix == ".py" else data
        digest.update(f"{path.relative_to(_SCREENING).as_posix()}\0{len(said)}\0".encode())
        digest.update(said)
    return f"{VERSION} {digest.hexdigest()}"


def stored() -> str:
    return _STORED.read_text(encoding="ascii").strip()


def main(*, same: bool) -> int:
    before, after = stored(), now()
    if before.split()[0] == str(VERSION) and before != after and not same:
        sys.stderr.write(
            f"What a scan does is not what {VERSION} was before: raise VERSION in version.py and run this again.\n"
            "If it finds the same in every file, give --same.\n"
        )
        return 1
    _STORED.write_text(f"{after}\n", encoding="ascii")
    return 0


def _code() -> list[Path]:
    found = [_SCREENING / name for name in _FILES]
    for folder in _FOLDERS:
        found += (path for path in (_SCREENING / folder).rglob("*") if path.suffix in _SUFFIXES)
    return [path for path in found if path.name not in _ASIDE]


if __name__ == "__main__":
    sys.exit(main(same=sys.argv[1:] == ["--same"]))
