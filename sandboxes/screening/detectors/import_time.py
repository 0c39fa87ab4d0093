"""What importing a module does: its first level, class bodies, decorators, and the functions these call.

Catches programs started, connections made, decoded or downloaded code run, machine code loaded from a download,
credentials read and start-up places written by an import, also across modules of the package and under other
names. Functions that nobody calls are looked at only where they both fetch or decode, and run.
Would have caught: colorama look-alikes ("colourama", "colorizr": a loader in `__init__`), ctx (environment sent),
torchtriton (host and keys sent), ultralytics 8.3.41 (a miner fetched and run), litellm 1.82.7 (encoded code run by
`proxy_server`), fshec2's loader, W4SP's one-liners.
Costs: the most of all detectors, by parsing: more than all others together (`bench.screening.detectors`).
Files without a risky word are not parsed, and a package has a budget; what it left out is told.
"""

import ast
import gc
import re
from collections.abc import Iterator
from typing import Final

from sandboxes.screening.detectors.judging import When, gravest, judge
from sandboxes.screening.detectors.reading_code import (
    Source,
    Sources,
    in_tests,
    installed,
    module_of,
    once,
    sources,
)
from sandboxes.screening.detectors.run_files import executed_files
from sandboxes.screening.detectors.run_state import STEPS
from sandboxes.screening.detectors.running import Run
from sandboxes.screening.detectors.unread import acts, by_threat, fetches
from sandboxes.screening.detectors.words import Words
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind, Package

_STEPS: Final = 500_000  # of a package: about a second
_ROUNDS: Final = 8  # of modules that ask for further ones
_IMPORTS_TESTS: Final = re.compile(
    rb"^[ \t]*(?:from|import)[ \t][^\n]*\b_?(?:tests?|testing|test_data|testdata|docs?|examples?|benchmarks?|fixtures"
    rb"|demos?|samples?)\b",
    re.MULTILINE,
)
# A file whose functions are looked at though nobody calls them has a word of each kind.
_FETCH: Final = Words((
    b"urlopen", b"urlretrieve", b"requests", b"httpx", b"aiohttp", b"urllib3", b"socket", b"HTTPConnection",
    b"HTTPSConnection", b"64decode", b"32decode", b"85decode", b"16decode", b"fromhex", b"unhexlify", b"decompress",
    b"ftplib", b"chr(",
))  # fmt: skip
_ACT: Final = Words((
    b"exec(", b"eval(", b"subprocess", b"os.system", b"os.popen", b"import system", b"startfile", b"marshal",
    b"pickle.loads", b"exec_module", b"FunctionType", b"ctypes", b"environ", b"rmtree", b"CryptUnprotectData",
    b"Popen", b"os.exec", b"os.spawn", b"__import__(",
))  # fmt: skip


def look(package: Package, former: Package | None) -> Iterator[Found]:
    yield from once(package, "import-time", lambda: _look(package))


def _look(package: Package) -> list[Found]:
    # Trees are many objects and no garbage until the end, and the end comes soon.
    collects = gc.isenabled()
    gc.disable()
    walk = _Walk(package)
    try:
        return gravest(walk.found())
    finally:
        walk.forget()
        if collects:
            gc.enable()


class _Walk:
    """Through the files of one package. What is imported from tests is looked at because it is imported."""

    def __init__(self, package: Package) -> None:
        self.files: Sources = sources(package)
        self.kind = package.kind
        self.by_module = {each.module: each for each in self.files.files}
        self.runs: dict[str, Run] = {}
        self.package = package
        self.left = _STEPS
        self.cut: set[str] = set()
        self.wanted: set[str] = set()  # names of elsewhere that were imported or called

    def found(self) -> Iterator[Found]:
        chosen = [each for each in self.files.files if self._imported(each)]
        # What may both fetch and run comes first: files that only fill the budget must not push it out.
        for source in sorted(chosen, key=lambda each: not _is_grave(each)):
            self._run(source)
        self._follow()
        by_path = {each.path: each for each in self.files.files}
        for path, run in list(self.runs.items()):
            source = by_path[path]
            yield from executed_files(self.package, run, When.IMPORT, path)
            yield from judge(run.events, When.IMPORT, source)
            if _ACT.within(source.content) and _FETCH.within(source.content):
                yield from self._functions(source, run)
        yield from self._not_looked_at()

    def forget(self) -> None:
        """Nobody needs most of the trees any more, and looking through them for garbage costs much."""
        for source in self.files.files:
            self.files.forget(source)

    def _imported(self, source: Source) -> bool:
        if source.is_test or not (source.risky or _relays(source)):
            return False
        where = installed(source.path)
        if self.kind is Kind.SDIST:
            return where not in ("setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py")
        # Programs of a wheel are run by their users, with their first level.
        return ".data/scripts/" not in where

    def _run(self, source: Source) -> Run | None:
        if source.path in self.runs:
            return self.runs[source.path]
        if self.left <= 0:
            self.cut.add(source.path)
            return None
        tree = self.files.tree(source)
        if tree is None:
            if source.why_not == "too deep":
                self.cut.add(source.path)
            return None
        run = Run(module=source.module, is_package=source.is_package, steps=min(STEPS, self.left))
        self.runs[source.path] = run
        if source.path.endswith("__main__.py"):
            # Only `python -m` runs it. Its functions are there to be followed.
            run.module_level([each for each in tree.body if isinstance(each, _DEFINING)])
        else:
            run.module_level(tree.body)
        self.left -= min(STEPS, self.left) - max(run.steps, 0)
        return run

    def _follow(self) -> None:
        """Modules that were left out and are imported by others; functions of other modules that are called."""
        for _ in range(_ROUNDS):
            wanted = self._asked_for() - self.wanted
            if not wanted:
                return
            self.wanted |= wanted
            called = {name for run in self.runs.values() for name in run.called}
            for name in sorted(wanted):
                self._enter(name, called)
        left = self._asked_for() - self.wanted
        modules = left | {name.rpartition(".")[0] for name in left}
        self.cut |= {self.by_module[name].path for name in modules & self.by_module.keys()}

    def _asked_for(self) -> set[str]:
        return {name for run in self.runs.values() for name in (*run.called, *run.imports)}

    def _enter(self, name: str, called: set[str]) -> None:
        source = self.by_module.get(name)
        if source is not None:
            if source.is_test and source.risky:
                self._run(source)
            return
        module, _, function = name.rpartition(".")
        source = self.by_module.get(module)
        if source is None or name not in called:
            return
        run = self._run(source) if source.risky or source.is_package else None
        if run is None:
            return
        code = run.globals.look_up(function).code
        if isinstance(code, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            run.function(code)

    def _functions(self, source: Source, run: Run) -> Iterator[Found]:
        tree = self.files.tree(source)
        if tree is None or self.left <= 0:
            return
        steps = min(STEPS, self.left)
        later = Run(module=run.module, is_package=run.is_package, steps=steps, globals=run.globals)
        told = {each.line for each in run.events}
        for code in _all_functions(tree):
            if id(code[0]) in run.entered:
                continue
            start = len(later.events)
            later.function(code[0], owner=code[1])
            events = [each for each in later.events[start:] if each.line not in told]
            yield from judge(events, When.RUN, source)
        self.left -= steps - max(later.steps, 0)

    def _not_looked_at(self) -> Iterator[Found]:
        self.cut |= {path for path, run in self.runs.items() if run.exhausted}
        skipped = {path for path in self.files.skipped if path not in self.runs}
        tests = {path for path in skipped if in_tests(path, self.kind) and module_of(path) not in self.wanted}
        found = by_threat(self.package, sorted((skipped | self.cut) - tests))
        if tests:
            found.setdefault(Threat.LOW, []).extend(sorted(tests))
        for threat, paths in found.items():
            yield Found(
                rule="import-time.not-looked-at",
                ability=Ability.CONTENT,
                threat=threat,
                why=f"{_counted(paths)} too much to be followed{_HOLDING[threat]}.",
                path=paths[0],
            )


_HOLDING: Final = {
    Threat.LOW: "",
    Threat.MEDIUM: ", with words for running something",
    Threat.HIGH: ", with words for running something and for fetching or decoding it",
}
_DEFINING: Final = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
)


def _counted(paths: list[str]) -> str:
    if len(paths) == 1:
        return "A Python file, or a part of it, is"
    return f"{len(paths)} Python files, or parts of them, are"


def _relays(source: Source) -> bool:
    """A package's own file may call what does harm elsewhere, and any file may import what stands among tests."""
    if source.is_package and 0 < len(source.content) < 20_000 and b"(" in source.content:
        return True
    return _IMPORTS_TESTS.search(source.content) is not None


def _is_grave(source: Source) -> bool:
    return acts(source.searched) and fetches(source.searched)


def _all_functions(
    tree: ast.Module,
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, ast.ClassDef | None]]:
    for each in tree.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each, None
        elif isinstance(each, ast.ClassDef):
            for inner in each.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield inner, each
