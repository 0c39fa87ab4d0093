"""The newest wheels of the most used projects and those of the releases before, through an index of ours, and kept.

The index takes them from where this machine's own does (`INDEX_UPSTREAM`, else pip's settings). It waits with
nothing and holds nothing back, so that what comes is the newest. A project without a wheel that would do is passed
over for the next one of the list, and told. What has come is kept, and so is what there is not; a second run needs
no network. Only trouble on the way is tried again.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

import msgspec

from bench.index import running
from bench.screening import choosing
from bench.world import ROOT, free_port, installation, say
from sandboxes.screening.package import Facts

if TYPE_CHECKING:  # of Django's: only once an installation is there
    from sandboxes.index.page import File, Page

KEPT = ROOT / ".data" / "bench" / "popular"
LARGEST = 250_000_000  # bytes of one wheel
_KNOWN = "kept.json"
_FORMER = "former"  # a folder: releases of two projects never have one name
_AT_ONCE = 3
_PATIENCE = 600  # seconds without a byte
_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Wheel:
    path: Path
    facts: Facts
    former: Path | None = None  # its kind of the release before


class Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """What there is of a project, or why there is none."""

    facts: Facts | None = None
    former: str = ""  # its file's name
    why: str = ""  # not, or not the former


def of_folder(folder: Path) -> list[Wheel]:
    """Wheels that are there; of a folder that this module kept, with what their pages said, and with the former."""
    said = {known.facts.filename: known for known in _kept(folder).values() if known.facts}
    return [
        _wheel(folder, said.get(path.name) or Known(_named(path))) for path in sorted(folder.glob("*.whl"))
    ]


def of_projects(names: Sequence[str], most: int, python: str, folder: Path = KEPT) -> list[Wheel]:
    """One of each of the first `most` that have one; fetched if it was not looked for yet."""
    if _wanted(names, most, _kept(folder)):
        with installation() as data, index(data) as url:
            fetch(url, names, most, python, folder)
    kept = _kept(folder)
    found = list(islice((name for name in names if name in kept and kept[name].facts), most))
    for name in names[: names.index(found[-1]) + 1] if found else names:
        if why := kept.get(name, Known(why="not looked for")).why:
            say(f"{name}: {why}")
    return [_wheel(folder, kept[name]) for name in found]


def fetch(url: str, names: Sequence[str], most: int, python: str, folder: Path) -> None:
    """From the pages at `url`, down the list until there are `most`. Any trouble is told."""
    (folder / _FORMER).mkdir(parents=True, exist_ok=True)
    kept = _kept(folder)
    failed: set[str] = set()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := _wanted(names, most, kept, failed):
            for name, known in pool.map(lambda name: (name, _fetched(url, name, python, folder)), batch):
                if isinstance(known, str):
                    say(f"{name}: {known}")
                    failed.add(name)
                    continue
                kept[name] = known
                _keep(folder, kept)


def _wanted(
    names: Sequence[str], most: int, kept: Mapping[str, Known], failed: Container[str] = ()
) -> list[str]:
    """Those to ask for: if all of them have a wheel, there are `most`."""
    hoped = (name for name in names if name not in failed and (name not in kept or kept[name].facts))
    return [name for name in islice(hoped, most) if name not in kept]


def _wheel(folder: Path, known: Known) -> Wheel:
    assert known.facts is not None  # noqa: S101 -- for types: who asks has looked
    former = folder / _FORMER / known.former if known.former else None
    return Wheel(folder / known.facts.filename, known.facts, former)


# ---- from the index


def _fetched(url: str, name: str, python: str, folder: Path) -> Known | str:
    """A text: what went wrong, which may go well the next time."""
    from sandboxes.index.errors import UpstreamError
    from sandboxes.index.screening import facts

    try:
        page, where = _page(url, name)
        file = choosing.newest(page, python)
        if file is None:
            return Known(why="no wheel for this machine")
        if (file.size or 0) > LARGEST:
            return Known(why=f"{file.filename} has {(file.size or 0) / 1e6:.0f} MB")
        said = asyncio.run(facts.of_file(page, file))
        _download(urljoin(where, file.url), file, folder)
        former = choosing.former(page, said)
        if former is None:
            why = (
                "no release before it"
                if not said.former_version
                else f"no such wheel of {said.former_version}"
            )
            return Known(said, why=why)
        if (former.size or 0) > LARGEST:
            return Known(said, why=f"{former.filename} has {(former.size or 0) / 1e6:.0f} MB")
        _download(urljoin(where, former.url), former, folder / _FORMER)
    except (OSError, UpstreamError) as error:
        return f"{type(error).__name__} {error}"
    return Known(said, former=former.filename)


def _page(url: str, name: str) -> "tuple[Page, str]":
    """As the index serves it, and its URL, which has no credentials."""
    from sandboxes.index.upstream_json import parse_json

    parts = urlsplit(f"{url}/{name}/")
    plain = parts._replace(netloc=f"{parts.hostname}:{parts.port}").geturl()
    with urlopen(_request(plain, Accept=_JSON), timeout=_PATIENCE) as answer:  # noqa: S310 -- ours
        return parse_json(name, answer.read(), plain), plain


def _download(url: str, file: "File", folder: Path) -> None:
    path, fresh = folder / file.filename, folder / f"{file.filename}.new"
    if path.exists():
        return
    with urlopen(_request(url), timeout=_PATIENCE) as answer, fresh.open("wb") as kept:  # noqa: S310 -- ours
        shutil.copyfileobj(answer, kept)
    with fresh.open("rb") as came:
        if hashlib.file_digest(came, "sha256").hexdigest() != file.sha256:
            raise OSError(f"{file.filename} came broken")
    fresh.replace(path)


def _request(url: str, **headers: str) -> Request:
    return Request(url, headers={"Authorization": running.authorization(), **headers})  # noqa: S310 -- ours


# ---- what is kept


def _named(path: Path) -> Facts:
    """Of a wheel whose page nobody saw."""
    from packaging.utils import parse_wheel_filename

    project, version, _, _ = parse_wheel_filename(path.name)
    return Facts(filename=path.name, project=project, version=str(version))


def _kept(folder: Path) -> dict[str, Known]:
    if not (folder / _KNOWN).exists():
        return {}
    read = msgspec.convert(json.loads((folder / _KNOWN).read_text()), dict[str, Known])
    return {name: known for name, known in read.items() if _is_there(folder, known)}


def _is_there(folder: Path, known: Known) -> bool:
    wheel = known.facts is None or (folder / known.facts.filename).exists()
    return wheel and (not known.former or (folder / _FORMER / known.former).exists())


def _keep(folder: Path, kept: dict[str, Known]) -> None:
    fresh = folder / f"{_KNOWN}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1))
    fresh.replace(folder / _KNOWN)


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
