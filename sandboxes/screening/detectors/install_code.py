"""Code that runs when an sdist is built or installed: `setup.py`, build backends inside the sdist, build hooks.

All it does is followed, classes for `cmdclass` included: whoever installs an sdist runs them. Reading its own
version file by exec, asking git or a compiler is what good ones do. A wheel runs none of it.
Would have caught: "colourama" and the 3,700 "fallguys"-like uploads (setup.py that fetches), "python3-dateutil" and
"jeIlyfish" (keys sent), dependency confusion beacons (host name sent from setup.py), ctx's and "discordpy" clones'
install classes, "httpslib"-like PowerShell starts.
Costs: one or two files of an sdist are parsed; nothing in wheels.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from sandboxes.screening.detectors.judging import When, gravest, judge
from sandboxes.screening.detectors.reading_code import Source, excerpt, line_at, sources
from sandboxes.screening.detectors.run_files import executed_files
from sandboxes.screening.detectors.running import Run
from sandboxes.screening.detectors.unread import by_threat
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Package

_SETTINGS: Final = 1_000_000  # bytes of a pyproject.toml that are read
_INSTALLERS: Final = re.compile(
    r"(?:^|\.)(?:install|develop|egg_info|build|build_py|build_ext|sdist|bdist_egg|bdist_wheel|build_clib|Command)$"
)
_URL_REQUIREMENT: Final = re.compile(r"@\s*(?:https?|git\+\w+|file|ftp|ssh)://", re.IGNORECASE)


def look(package: Package, former: Package | None) -> Iterator[Found]:
    if package.kind is not Kind.SDIST:
        return
    settings, text = _pyproject(package)
    found = list(_requirements(settings, text))
    hooks = dict.fromkeys(["setup.py", *_hook_files(package, settings)])
    for path in hooks:
        source = next((each for each in sources(package).files if each.path == path), None)
        if source is not None:
            found += _of_file(package, source)
        elif path == "setup.py" and package.member(path) is not None:
            found.append(_unread(path, "too large"))
    found += _backend(settings, text)
    found += _test_hooks(package)
    yield from gravest(found)


def _of_file(package: Package, source: Source) -> Iterator[Found]:
    tree = sources(package).tree(source)
    if tree is None:
        yield _unread(source.path, source.why_not)
        return
    run = Run(module=source.module, main=True)
    run.module_level(tree.body)
    for each in ast.iter_child_nodes(tree):
        if isinstance(each, ast.ClassDef):
            yield from _command_class(run, each, source)
        elif isinstance(each, ast.FunctionDef) and source.path != "setup.py":
            run.function(each)  # build backends and hooks are called by name
    _called_elsewhere(package, run)
    yield from executed_files(package, run, When.INSTALL, source.path)
    if run.exhausted:
        (threat,) = by_threat(package, [source.path])
        yield _unread(source.path, "too much", threat)
    yield from judge(run.events, When.INSTALL, source)


def _called_elsewhere(package: Package, run: Run) -> None:
    """Functions of other modules of the sdist that setup.py calls: `from helper import go; go()`."""
    files = {each.module: each for each in sources(package).files}
    for name in sorted(run.called | run.imports):
        module, _, function = name.rpartition(".")
        for wanted in (name, module):
            source = files.get(wanted)
            tree = sources(package).tree(source) if source is not None and source.risky else None
            if source is None or tree is None:
                continue
            other = Run(module=source.module, is_package=source.is_package)
            other.module_level(tree.body)
            code = other.globals.look_up(function).code
            if code is not None and name in run.called:
                other.function(code)
            run.events.extend(other.events)
            run.exhausted = run.exhausted or other.exhausted


def _command_class(run: Run, code: ast.ClassDef, source: Source) -> Iterator[Found]:
    """Its methods are called by the installer."""
    scope = run.globals.classes.get(id(code))
    names = scope.base_names if scope is not None else []
    before = len(run.events)
    for each in code.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            run.function(each, owner=code)
    if len(run.events) > before and any(_INSTALLERS.search(name) for name in names):
        line = run.events[before].line
        yield Found(
            rule="install-code.command",
            ability=Ability.INSTALL,
            threat=Threat.LOW,
            why="A command of the installer is replaced by one that starts, fetches or runs something.",
            path=source.path,
            line=line,
            excerpt=source.excerpt(line),
        )


def _unread(path: str, why: str, threat: Threat = Threat.HIGH) -> Found:
    return Found(
        rule="install-code.unread",
        ability=Ability.INSTALL,
        threat=Threat.LOW if why == "no Python 3" else threat,
        why=f"Code that runs when it is installed could not be read ({why}).",
        path=path,
    )


def _pyproject(package: Package) -> tuple[dict[str, Any], str]:
    member = package.member("pyproject.toml")
    if member is None or member.size > _SETTINGS:
        return {}, ""
    text = member.text(_SETTINGS)
    try:
        return tomllib.loads(text), text
    except (ValueError, RecursionError):
        return {}, text


def _table(settings: Any, *names: str) -> dict[str, Any]:
    for name in names:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings if isinstance(settings, dict) else {}


def _requirements(settings: dict[str, Any], text: str) -> Iterator[Found]:
    listed = _table(settings, "build-system").get("requires")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, str) and _URL_REQUIREMENT.search(each):
            yield Found(
                rule="install-code.build-requirement",
                ability=Ability.INSTALL,
                threat=Threat.HIGH,
                why="To build it, something is fetched from an address instead of an index.",
                path="pyproject.toml",
                line=line_at(text, max(text.find(each), 0)),
                excerpt=excerpt(each),
            )


def _hook_files(package: Package, settings: dict[str, Any]) -> Iterator[str]:
    yield from _backend_files(package, settings)
    for hooks in (
        _table(settings, "tool", "hatch", "build", "hooks"),
        _table(settings, "tool", "hatch", "build", "targets", "wheel", "hooks"),
        _table(settings, "tool", "hatch", "build", "targets", "sdist", "hooks"),
        _table(settings, "tool", "hatch", "metadata", "hooks"),
    ):
        custom = _table(hooks, "custom")
        if "custom" in hooks:
            yield str(custom.get("path", "hatch_build.py"))
    poetry = _table(settings, "tool", "poetry").get("build")
    script = poetry.get("script") if isinstance(poetry, dict) else poetry
    if isinstance(script, str):
        yield script
    if "pdm" in str(_table(settings, "build-system").get("build-backend", "")):
        yield "pdm_build.py"


def _backend_files(package: Package, settings: dict[str, Any]) -> Iterator[str]:
    system = _table(settings, "build-system")
    folders, backend = system.get("backend-path"), system.get("build-backend")
    if not isinstance(folders, list) or not isinstance(backend, str):
        return
    module = backend.split(":")[0].replace(".", "/")
    for folder in folders:
        prefix = str(folder).strip("./")
        for path in (f"{module}.py", f"{module}/__init__.py"):
            whole = f"{prefix}/{path}" if prefix else path
            if package.member(whole) is not None:
                yield whole


def _backend(settings: dict[str, Any], text: str) -> Iterator[Found]:
    if "backend-path" in _table(settings, "build-system"):
        yield Found(
            rule="install-code.own-backend",
            ability=Ability.INSTALL,
            threat=Threat.LOW,
            why="It is built by code of its own that is not the usual tool's.",
            path="pyproject.toml",
            line=line_at(text, max(text.find("backend-path"), 0)),
            excerpt="backend-path",
        )


def _test_hooks(package: Package) -> Iterator[Found]:
    """`conftest.py` at the top runs for whoever runs the tests: the same acts, told if they are grave."""
    source = next((each for each in sources(package).files if each.path == "conftest.py"), None)
    tree = sources(package).tree(source) if source is not None and source.risky else None
    if source is None or tree is None:
        return
    run = Run(module="conftest")
    run.module_level(tree.body)
    for each in judge(run.events, When.IMPORT, source):
        if each.threat in (Threat.HIGH, Threat.CRITICAL):
            yield each
