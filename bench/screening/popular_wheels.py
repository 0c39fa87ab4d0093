"""The newest wheels of the most used projects, through an index of ours, and kept: a second run needs no network.

The index takes them from where this machine's own does (`INDEX_UPSTREAM`, else pip's settings). It waits with
nothing and holds nothing back, so that what comes is the newest. What is not there is remembered too.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec

from bench.index import running
from bench.world import ROOT, free_port, installation, say
from sandboxes.screening.package import Facts

KEPT = ROOT / ".data" / "bench" / "popular"
_FACTS = "facts.json"  # by project: the facts of its wheel, or why there is none
_NONE = "No matching distribution found"  # says pip
_AT_ONCE = 3
_PATIENCE = 600  # seconds for one wheel
_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Wheel:
    path: Path
    facts: Facts


def of_folder(folder: Path) -> list[Wheel]:
    """Wheels that are there; of a folder that this module kept, with what their pages said."""
    said = {found.filename: found for found in _kept(folder).values() if isinstance(found, Facts)}
    return [Wheel(path, said.get(path.name) or _named(path)) for path in sorted(folder.glob("*.whl"))]


def of_projects(names: Sequence[str], python: str, folder: Path = KEPT) -> list[Wheel]:
    """One of each, as far as there is one; fetched if it was not looked for yet."""
    missing = [name for name in names if name not in _kept(folder)]
    if missing:
        with installation() as data, index(data) as url:
            fetch(url, missing, python, folder)
    kept = _kept(folder)
    found = [facts for name in names if isinstance(facts := kept.get(name), Facts)]
    if len(found) < len(names):
        without = [name for name in names if not isinstance(kept.get(name), Facts)]
        say(f"{len(without)} of {len(names)} projects have no wheel here: {', '.join(without)}")
    return [Wheel(folder / facts.filename, facts) for facts in found]


def fetch(url: str, names: Iterable[str], python: str, folder: Path) -> None:
    """By pip, from the pages at `url`. Kept is what came, and who has none; any other trouble is told."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = _kept(folder)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, found in pool.map(lambda name: (name, _fetched(url, name, python, folder)), names):
            if isinstance(found, str) and _NONE not in found:
                say(f"{name}: {found}")
                continue
            kept[name] = found
            _keep(folder, kept)


def _fetched(url: str, name: str, python: str, folder: Path) -> Facts | str:
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        options = ["--isolated", "--disable-pip-version-check", "--no-cache-dir", "--no-input", "--quiet"]
        wanted = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--index-url", f"{url}/"]
        command = [sys.executable, "-m", "pip", *options, "download", *wanted, "--dest", fresh, name]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE)
        except subprocess.CalledProcessError as error:
            return (str(error.stderr).strip().splitlines() or ["no reason"])[-1]
        except subprocess.TimeoutExpired:
            return "no answer"
        [path] = Path(fresh).glob("*.whl")
        return _said(url, name, path.replace(folder / path.name))


def _said(url: str, name: str, path: Path) -> Facts:
    """What its page says, as the index tells its own scanner."""
    from sandboxes.index.screening import facts
    from sandboxes.index.upstream_json import parse_json

    parts = urlsplit(f"{url}/{name}/")
    plain = parts._replace(netloc=f"{parts.hostname}:{parts.port}").geturl()
    credentials = {"Authorization": running.authorization()}
    with urlopen(Request(plain, headers={"Accept": _JSON, **credentials}), timeout=60) as answer:  # noqa: S310 -- ours
        page = parse_json(name, answer.read(), plain)
    file = next(each for each in page.files if each.filename == path.name)
    return asyncio.run(facts.of_file(page, file))


def _named(path: Path) -> Facts:
    """Of a wheel whose page nobody saw."""
    from packaging.utils import parse_wheel_filename

    project, version, _, _ = parse_wheel_filename(path.name)
    return Facts(filename=path.name, project=project, version=str(version))


def _kept(folder: Path) -> dict[str, Facts | str]:
    if not (folder / _FACTS).exists():
        return {}
    read = json.loads((folder / _FACTS).read_text())
    return {
        name: found if isinstance(found, str) else msgspec.convert(found, Facts)
        for name, found in read.items()
        if isinstance(found, str) or (folder / found["filename"]).exists()
    }


def _keep(folder: Path, kept: dict[str, Facts | str]) -> None:
    fresh = folder / f"{_FACTS}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1))
    fresh.replace(folder / _FACTS)


@contextmanager
def index(folder: Path) -> Iterator[str]:
    """The URL of its pages, for one sandbox."""
    _let_everything_through()
    running.sandbox()
    port = free_port()
    with running.index(folder, port, os.environ.get("INDEX_UPSTREAM", "")):
        yield running.url(port)


def _let_everything_through() -> None:
    """This installation's policy: no wait for young releases, nothing looked at first."""
    from dataclasses import replace

    from portal.accounts.models import User
    from sandboxes.index import policy_settings

    now = policy_settings.settings_of("")
    plain = replace(now, cooldown=timedelta(), screened=False, refuse_from=None)
    by = User.objects.get(username="bench")
    policy_settings.change(profile="", settings=plain, by=by, reason="the newest wheels are measured")
