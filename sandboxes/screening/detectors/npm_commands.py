"""Which files of the package a shell's command starts: with Node and its kin, with a shell, or by themselves.

Nothing is run, and a shell's grammar is not needed: what stands between quotes is read as a command of its own too,
and an option that may or may not take the next word is taken both ways. A name that is no file of the package says
nothing, so whoever asks looks whether it is one.
"""

import re
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 20_000  # characters of a command; no good one has them
_LAUNCHER: Final = re.compile(
    r"(?:^|[\s;&|(/\\\"'`@])(?:node(?:js)?|bun|bunx|deno|tsx|ts-node|electron|zx|jiti|esno|babel-node|sh|bash|dash"
    r"|zsh|ksh|source|start|cmd|call|\.)(?:\.exe|\.cmd)?[\"']?(?=\s)"
)
# `node ./x` is found by its launcher; `./x` and `lib/x.sh` are started by themselves.
_ITSELF: Final = re.compile(
    r"(?:^|[;&|(`]|\bexec\s|=\S{0,200}\s)\s*[\"']?([\w@.-]*[/\\][\w@./\\-]+|[\w@.-]+\.(?:bat|cmd)\b)"
)
_WORD: Final = re.compile(r"\s+((?:\"[^\"]*\"|'[^']*'|\\.|[^\s;&|()<>\"'`\\])+)")
_QUOTED: Final = re.compile(r"\"([^\"]{3,})\"|'([^']{3,})'")
_FOLDER: Final = re.compile(r"(?:\bcd|\bpushd|--prefix|--cwd|-C)[\s=]+[\"']?([\w@./-]+)")
# Inside of `node -e "…"`, and of what it is given.
REQUIRES: Final = re.compile(
    r"\b(?:require|import)\s*\(\s*['\"`](\.{1,2}(?:/[\w@./-]*)?)['\"`]\s*\)"
    r"|\b(?:import|from)\s*['\"](\.{1,2}/[\w@./-]+)['\"]"
)
# Options of Node that are complete by themselves; `-p` and `-e` are followed by code, in which only REQUIRES looks.
_BARE: Final = re.compile(
    r"-(?!C$)[^-]*$|--$|--(?:no-.*|harmony.*|experimental-(?!loader).*|trace-.*|preserve-.*|enable-.*|expose-.*|allow-.*|use-.*"
    r"|throw-.*|pending-.*|silent|quiet|smol|bun|watch|abort.*)$"
)
_WITH_FILE: Final = ("-r", "--require", "--import", "--loader", "--experimental-loader", "--preload")
_WITH_CODE: Final = ("-e", "--eval", "-p", "--print", "-pe")
_SUBCOMMANDS: Final = ("run", "x", "exec", "/c", "/b", "/wait", "/min", "//c")


def started(command: str) -> list[str]:
    """Names of files, as they are given; with folders before them that the command goes to."""
    command = command[:LONGEST]
    texts = [command, *(one or two for one, two in _QUOTED.findall(command))]
    names = [name for text in texts for name in _started(text)]
    folders = _FOLDER.findall(command)[:50]
    within = [f"{folder}/{name}" for folder in folders for name in names]
    return list(dict.fromkeys((*names, *within)))


def _started(command: str) -> Iterator[str]:
    for launcher in _LAUNCHER.finditer(command):
        yield from _given_to(command, launcher.end())
    yield from (_plain(name) for name in _ITSELF.findall(command))
    yield from (one or two for one, two in REQUIRES.findall(command))


def _given_to(command: str, place: int) -> Iterator[str]:
    """The words after `node`, up to the file it starts: what follows is the file's own."""
    maybe = False  # the word before may have wanted this one
    while (match := _WORD.match(command, place)) is not None:
        place = match.end()
        word = _plain(match[1])
        option, _, value = word.partition("=")
        if option in _WITH_CODE:
            return
        if option in _WITH_FILE:
            if value:
                yield value
            maybe = not value
        elif word.startswith("-"):
            maybe = not value and _BARE.match(word) is None
        elif word.lower() not in _SUBCOMMANDS:
            yield word
            if not maybe:
                return
            maybe = False


def _plain(word: str) -> str:
    return re.sub(r"[\"']", "", word).replace("\\", "/").strip()
