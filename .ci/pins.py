"""Writes exact versions of everything, transitive too, into pyproject.toml; `make pins` runs it.

uv.lock would name the registry it was made with, so it is not kept. What is
kept is `[tool.uv] constraint-dependencies`: names, versions and, where they
differ between Python versions or systems, markers.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "pyproject.toml"
LIST = re.compile(r"^constraint-dependencies = \[(\n.*?\n)?\]$", re.MULTILINE | re.DOTALL)


def main() -> int:
    uv = sys.argv[1]
    before = PROJECT.read_text()
    try:
        PROJECT.write_text(with_pins(before, []))  # pinned, nothing could be upgraded
        subprocess.run([uv, "lock", "--upgrade", "--quiet"], cwd=ROOT, check=True)
        pins = pins_of(tomllib.loads((ROOT / "uv.lock").read_text()))
        PROJECT.write_text(with_pins(before, pins))
        subprocess.run([uv, "lock", "--quiet"], cwd=ROOT, check=True)  # they fit together
    except BaseException:
        PROJECT.write_text(before)
        raise
    sys.stdout.write(f"{len(pins)} versions pinned.\n")
    return 0


def pins_of(lock: dict[str, Any]) -> list[str]:
    """One requirement for each package; one for each version where the lock has several."""
    return sorted(
        f"{package['name']}=={package['version']}" + _marker(package)
        for package in lock["package"]
        if "registry" in package["source"]
    )


def _marker(package: dict[str, Any]) -> str:
    markers = package.get("resolution-markers", [])
    return " ; " + " or ".join(f"({marker})" for marker in markers) if markers else ""


def with_pins(text: str, pins: list[str]) -> str:
    """The same text with that list; everything else, comments too, stays as it is."""
    lines = "".join(f"    {_quoted(pin)},\n" for pin in pins)
    new, found = LIST.subn(lambda _: f"constraint-dependencies = [\n{lines}]" if pins else _EMPTY, text)
    if found != 1:
        raise SystemExit("pyproject.toml has no constraint-dependencies list.")
    return new


_EMPTY = "constraint-dependencies = []"


def _quoted(pin: str) -> str:
    """Markers quote with ' , so a string in double quotes holds them."""
    return '"' + pin.replace('"', "'") + '"'


if __name__ == "__main__":
    sys.exit(main())
