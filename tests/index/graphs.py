"""Projects with what real ones have: extras, markers, pre-releases, yanked files, needs of a Python, back-tracking."""

from dataclasses import dataclass
from typing import Any

from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel


@dataclass(frozen=True)
class Release:
    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    python: str = ""
    yanked: bool | str = False


RELEASES = (
    # A web application: extras, shared dependencies, a marker for another system.
    Release("webapp", "3.1", ("router~=2.0", "templates>=3", "colours; sys_platform == 'win32'",
                              "fastjson>=1; extra == 'speed'", "pool[async]; extra == 'sql'"), ("speed", "sql")),
    Release("router", "2.0", ("strings<3",)),
    Release("router", "2.4", ("strings>=2,<3",)),
    Release("router", "3.0", ("strings>=3",)),
    Release("templates", "3.0", ("strings>=1",)),
    Release("templates", "3.2", ("strings>=2", "markup; python_version < '3.0'")),
    *(Release("strings", version) for version in ("1.0", "2.0", "2.9.1", "2.10", "3.0", "4.0a1")),
    Release("colours", "1.0"),
    Release("fastjson", "1.1", python=">=3.8"),
    Release("fastjson", "2.0", python=">=3.99"),
    Release("pool", "1.0", ("eventloop>=0.9; extra == 'async'",), ("async",)),
    Release("eventloop", "0.9"),
    Release("eventloop", "1.0b2"),
    # One project has pre-releases alone; another one's newest is yanked.
    Release("preview", "0.1a1"), Release("preview", "0.1rc1"), Release("preview", "0.1.dev3"),
    Release("steady", "1.0"), Release("steady", "1.1", yanked="broken on Tuesdays"), Release("steady", "1.0.post1"),
    # Whoever takes the newest of both first has to go back.
    *(Release("left", f"1.{minor}", (f"shared=={minor}.*",)) for minor in range(6)),
    *(Release("right", f"1.{minor}", (f"shared<{minor}",)) for minor in range(1, 6)),
    *(Release("shared", f"{minor}.{patch}") for minor in range(6) for patch in range(3)),
    # Spellings of names and versions.
    Release("Mixed_Case.Name", "1.0.0+local.1"), Release("Mixed_Case.Name", "1!0.1"),
)  # fmt: skip

# What is asked for: each is a requirements file.
FILES: dict[str, tuple[str, ...]] = {
    "plain": ("webapp",),
    "extras": ("webapp[speed,sql]>=3", "strings!=2.10"),
    "ranges": ("router>=2,<3", "templates~=3.0", "strings<2.10"),
    "pre-releases": ("preview", "eventloop>=1.0b1"),
    "yanked": ("steady",),
    "yanked but pinned": ("steady==1.1",),
    "back-tracking": ("left", "right<1.4"),
    "spellings": ("mixed-case.NAME",),
    "no solution": ("left==1.5", "right==1.3"),
    "no such project": ("webapp", "never-heard-of"),
}


def add_graphs(upstream: UpstreamServer) -> None:
    for release in RELEASES:
        package = _package(release)
        upstream.add(release.name.lower().replace("_", "-").replace(".", "-"), package)
        said: dict[str, Any] = {"yanked": release.yanked}
        if release.python:
            said["requires-python"] = release.python
        upstream.extra[package.filename] = said


def _package(release: Release) -> Package:
    lines = [f"Requires-Dist: {each}" for each in release.requires]
    lines += [f"Provides-Extra: {each}" for each in release.extras]
    lines += [f"Requires-Python: {release.python}"] if release.python else []
    return make_wheel(release.name.replace(".", "_"), release.version, headers=lines)
