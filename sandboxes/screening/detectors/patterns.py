"""YARA rules, ours and the admin's, compiled. An admin's file that is wrong is left out, and told; ours always hold."""

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yara_x

from sandboxes.screening import environment, popular

OURS: Final = Path(__file__).parent / "rules"
NAMESPACE: Final = "petridish"  # of our rules; of the admin's, the file's name
_SUFFIXES: Final = frozenset((".yar", ".yara"))
# Bytes of the admin's rules altogether. A scanner compiles them before it is ready, which takes seconds for each MiB.
_LARGEST: Final = 2 * 1024 * 1024
_MOST: Final = 1000  # files of the admin's
_LOG: Final = logging.getLogger(__name__)

type Source = tuple[str, str]  # file name, text
type Stamp = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """`line`: from 1; 0: the file as a whole. `file`: its name, or the folder."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Compiled:
    """`digest` stands for the rules that are in it, ours and the admin's, and for the lists of popular names."""

    rules: yara_x.Rules
    problems: tuple[Problem, ...]
    digest: str
    ours: int  # rules
    added: int  # rules of the admin's


@lru_cache(maxsize=1)
def compiled() -> Compiled:
    """Of this process: what the folder held when it was first asked for."""
    made = read(environment.rules_folder())
    for problem in made.problems:
        _LOG.warning("YARA rules left out: %s", problem)
    return made


def stamp(folder: Path | None) -> Stamp:
    """Changes whenever a file of rules comes, goes or is written; costs a look at the folder."""
    found = []
    for path in _files(folder, []):
        try:
            about = path.stat()
        except OSError:
            continue
        found.append((path.name, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    return tuple(found)


def read(folder: Path | None) -> Compiled:
    found: list[Problem] = []
    ours = [(path.name, path.read_text(encoding="utf-8")) for path in sorted(OURS.glob("*.yar"))]
    given = _sources(folder, found)
    try:
        rules = _built(ours, given)
    except yara_x.CompileError:  # then one by one: a compiler that has seen an error keeps half of the file
        given = [source for source in given if not _wrong(source, found)]
        try:
            rules = _built(ours, given)
        except yara_x.CompileError as error:
            found.append(Problem(str(folder), 0, f"its files do not go together: {_said(error)}"))
            given = []
            rules = _built(ours, given)
    added = sum(rule.namespace != NAMESPACE for rule in rules)
    count = sum(1 for _ in rules)
    return Compiled(rules, tuple(found), _digest(ours, given), count - added, added)


def _built(ours: list[Source], given: list[Source]) -> yara_x.Rules:
    compiler = _compiler()
    for name, text in ours:
        compiler.new_namespace(NAMESPACE)
        compiler.add_source(text, name)
    for name, text in given:
        compiler.new_namespace(name)  # so that two files may have a rule of the same name
        compiler.add_source(text, name)
    return compiler.build()


def _wrong(source: Source, problems: list[Problem]) -> bool:
    name, text = source
    alone = _compiler()
    try:
        alone.add_source(text, name)
        alone.build()
    except yara_x.CompileError as error:
        told: list[dict[str, Any]] = alone.errors()
        problems.append(Problem(name, int(told[0].get("line") or 0) if told else 0, _said(error)))
        return True
    return False


def _digest(ours: list[Source], given: list[Source]) -> str:
    digest = hashlib.sha256(popular.digest())
    for name, text in (*((NAMESPACE, text) for _, text in ours), *given):
        digest.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:16]


def _compiler() -> yara_x.Compiler:
    # `include` would read files that nobody checked.
    return yara_x.Compiler(relaxed_re_syntax=True, includes_enabled=False)


def _files(folder: Path | None, problems: list[Problem]) -> list[Path]:
    if folder is None:
        return []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    except OSError as error:
        problems.append(Problem(str(folder), 0, _said(error)))
        return []
    if len(paths) > _MOST:
        told = f"only {_MOST} files are read, and it has {len(paths)}."
        problems.append(Problem(str(folder), 0, told))
    return paths[:_MOST]


def _sources(folder: Path | None, problems: list[Problem]) -> list[Source]:
    """Of the files that can be read, as far as there is room."""
    room, found = _LARGEST, []
    for path in _files(folder, problems):
        try:
            if path.stat().st_size > room:
                raise ValueError(f"with it there would be more than {_LARGEST >> 20} MiB of rules")
            with path.open("rb") as file:
                data = file.read(room + 1)
            found.append((path.name, data.decode()))
            room -= len(data)
        except (OSError, ValueError) as error:
            problems.append(Problem(path.name, 0, _said(error)))
    return found


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, yara_x.CompileError):
        return _told(str(error))
    return " ".join(str(error).split())[:300]


def _told(text: str) -> str:
    """Its first line, and what stands beside the place: "error[E025]: unknown pattern `$b` (this pattern is …)"."""
    first, *others = text.splitlines() or [""]
    beside = next((line.partition("^")[2].lstrip("^ ") for line in others if "^" in line), "")
    return f"{first} ({beside})"[:300] if beside else first[:300]
