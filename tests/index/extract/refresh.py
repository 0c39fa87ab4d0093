"""Takes the facts in `releases.json` and the choices in `locks/` anew: `python -m tests.index.extract.refresh`.

Works with uv and pip alone, as this machine's settings have them, index included: uv resolves each requirement file as
of each of DATES, and as of the last one what the file asks for without its versions, and the first of that by itself;
pip reports the metadata of what was chosen. So there is what a file takes, and newer that it must not take.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from tests.index.clients import environment
from tests.index.extract import FACTS, FILES, LOCKS, SETS, Release

# Old enough, the last of them too, that no cooldown is over them.
DATES = ("2025-06-01", "2026-01-01", "2026-09-01")
PYTHON = "3.13"  # the oldest that the resolutions are for
# One wheel is kept for each of these, where a release has them: what its platform's tag has in it.
_SYSTEMS = (("manylinux", "x86_64"), ("win_amd64",), ("macosx", "arm64"))
_INTERPRETERS = ("cp313", "py3")
# Pip is to take wheels of any of them.
_PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in (5, 12, 17, 24, 26, 27, 28, 31, 34)),
    *("manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64", "win_amd64", "macosx_15_0_arm64"),
)
_AT_ONCE = 4  # processes

Chosen = dict[tuple[str, str], Release]


def main() -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        chosen: Chosen = {}
        for found in pool.map(_resolved, *zip(*_runs(), strict=True)):
            chosen |= found
        facts: dict[str, dict[str, Release]] = defaultdict(dict)
        for reported in pool.map(_reported, _rounds(chosen)):
            for item in reported:
                metadata = item["metadata"]
                release = chosen[canonicalize_name(metadata["name"]), metadata["version"]]
                facts[metadata["name"]][metadata["version"]] = release | _facts(item)
    _write(facts)
    LOCKS.mkdir(exist_ok=True)
    for name in SETS:
        (LOCKS / f"{name}.txt").write_text(_compile(FILES / f"{name}.txt", DATES[-1], "--no-annotate"))


def _runs() -> Iterator[tuple[Path, tuple[str, ...], str]]:
    for name in SETS:
        path = FILES / f"{name}.txt"
        yield from ((path, (), date) for date in DATES)
        projects = tuple(_projects(path))
        yield path, projects, DATES[-1]
        yield path, projects[:1], DATES[-1]


def _projects(path: Path) -> Iterator[str]:
    """Those that a file asks for, extras and markers with them, but no versions."""
    for line in path.read_text().splitlines():
        said = line.partition("#")[0].strip()
        if said and not said.startswith("-"):
            requirement = Requirement(said)
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            yield f"{requirement.name}{extras}" + (f"; {requirement.marker}" if requirement.marker else "")


def _resolved(path: Path, instead: tuple[str, ...], date: str) -> Chosen:
    """Of a file, or of what is to be asked for `instead` of what it says.

    What has no wheel that resolving could take is left out; so is what could not be resolved at that date.
    """
    with tempfile.TemporaryDirectory() as folder:
        if instead:
            path = Path(folder, path.name)
            path.write_text("\n".join(instead))
        try:
            lock = tomllib.loads(_compile(path, date, "--format", "pylock.toml"))
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{path.name} as of {date}: {error.stderr.strip()}\n")
            return {}
    found: Chosen = {}
    for package in lock["packages"]:
        wheels = {unquote(each["url"].rpartition("/")[2]): each for each in package.get("wheels", ())}
        if files := _kept(sorted(wheels)):
            published = wheels[files[0]]["upload-time"].isoformat().replace("+00:00", "Z")
            release = {"files": files, "published": published}
            found[canonicalize_name(package["name"]), package["version"]] = release
    return found


def _compile(path: Path, date: str, *options: str) -> str:
    return _output(
        str(environment("uv") / "bin" / "uv"),
        *("pip", "compile", "--universal", "--python", sys.executable, "--python-version", PYTHON),
        *("--quiet", "--no-header", "--exclude-newer", date, *options, str(path)),
    )


def _kept(filenames: list[str]) -> list[str]:
    kept = [_first(filenames, ("none-any",)), *(_first(filenames, system) for system in _SYSTEMS)]
    return [filename for filename in kept if filename]


def _first(filenames: list[str], platform: tuple[str, ...]) -> str | None:
    return next((each for each in filenames if _fits(each, platform)), None)


def _fits(filename: str, platform: tuple[str, ...]) -> bool:
    tags = parse_wheel_filename(filename)[3]
    return any(
        all(part in f"{tag.abi}-{tag.platform}" for part in platform)
        and (tag.interpreter in _INTERPRETERS or tag.abi == "abi3")
        and not tag.abi.endswith("t")
        for tag in tags
    )


def _rounds(chosen: Chosen) -> Iterator[list[str]]:
    """Pip takes one version of a project at a time."""
    versions: dict[str, list[str]] = defaultdict(list)
    for project, version in chosen:
        versions[project].append(version)
    for pins in zip_longest(*([f"{name}=={each}" for each in listed] for name, listed in versions.items())):
        yield [pin for pin in pins if pin]


def _reported(pins: list[str]) -> list[dict[str, Any]]:
    platforms = [f"--platform={platform}" for platform in _PLATFORMS]
    options = ["--dry-run", "--no-deps", "--quiet", "--report", "-", "--target", "unused", *platforms]
    taken = ["--python-version", PYTHON, "--implementation", "cp", "--only-binary", ":all:"]
    pip = [str(environment("pip") / "bin" / "python"), "-m", "pip"]
    report: list[dict[str, Any]] = json.loads(_output(*pip, "install", *options, *taken, *pins))["install"]
    return report


def _facts(item: dict[str, Any]) -> Release:
    metadata = item["metadata"]
    said = {
        "python": metadata.get("requires_python"),
        "extras": metadata.get("provides_extra"),
        "requires": metadata.get("requires_dist"),
        "yanked": item.get("is_yanked"),
    }
    return {name: value for name, value in said.items() if value}


def _write(facts: dict[str, dict[str, Release]]) -> None:
    """A line for each release, so that what changed can be read."""
    projects = []
    for project in sorted(facts, key=canonicalize_name):
        versions = sorted(facts[project].items(), key=lambda each: Version(each[0]))
        lines = ",\n".join(f"{json.dumps(version)}: {json.dumps(release)}" for version, release in versions)
        projects.append(f"{json.dumps(project)}: {{\n{lines}\n}}")
    FACTS.write_text("{\n" + ",\n".join(projects) + "\n}\n")


def _output(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tempfile.gettempdir())
    return done.stdout


if __name__ == "__main__":
    main()
