"""YARA rules, ours and the admin's, compiled. An admin's file that is wrong is left out, and told."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import yara_x

from sandboxes.screening import environment

OURS: Final = Path(__file__).parent / "rules"
NAMESPACE: Final = "petridish"  # of our rules; of the admin's, the file's name
_SUFFIXES: Final = frozenset((".yar", ".yara"))
_LARGEST: Final = 16 * 1024 * 1024  # bytes of a file of rules
_MOST: Final = 1000  # files of the admin's
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compiled:
    rules: yara_x.Rules
    problems: tuple[str, ...]  # "FILE: what is wrong"


@lru_cache(maxsize=1)
def compiled() -> Compiled:
    """Of this process: what the folder held when it was first asked for."""
    made = read(environment.rules_folder())
    for problem in made.problems:
        _LOG.warning("YARA rules left out: %s", problem)
    return made


def problems() -> tuple[str, ...]:
    """What is wrong with the admin's folder now, for the portal to show; each one names its file."""
    return read(environment.rules_folder()).problems


def read(folder: Path | None) -> Compiled:
    compiler = _compiler()
    for path in sorted(OURS.glob("*.yar")):
        compiler.new_namespace(NAMESPACE)
        compiler.add_source(path.read_text(encoding="utf-8"), path.name)
    found: list[str] = []
    for path in _files(folder, found):
        try:
            source = _checked(path)
        except (OSError, ValueError, yara_x.CompileError) as error:
            found.append(f"{path.name}: {_said(error)}")
        else:
            compiler.new_namespace(path.name)  # so that two files may have a rule of the same name
            compiler.add_source(source, path.name)
    return Compiled(compiler.build(), tuple(found))


def _compiler() -> yara_x.Compiler:
    # `include` would read files that nobody checked.
    return yara_x.Compiler(relaxed_re_syntax=True, includes_enabled=False)


def _files(folder: Path | None, problems: list[str]) -> list[Path]:
    if folder is None:
        return []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    except OSError as error:
        problems.append(f"{folder}: {_said(error)}")
        return []
    if len(paths) > _MOST:
        problems.append(f"{folder}: only {_MOST} files are read, and it has {len(paths)}.")
    return paths[:_MOST]


def _checked(path: Path) -> str:
    """Its text, once it has been compiled alone: a compiler that has seen an error keeps half of the file."""
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"larger than {_LARGEST >> 20} MiB")
    source = path.read_text(encoding="utf-8")
    alone = _compiler()
    alone.add_source(source, path.name)
    alone.build()
    return source


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split())[:300]
