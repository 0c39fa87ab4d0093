"""Which index pip itself is configured to use: the upstream, unless somebody names another.

pip is asked through its own command, so every place it reads (environment,
global, user and site files) counts as it does for pip. Its built-in default is
read from its own constant: no registry's host name stands in our tree.
"""

import ast
import subprocess
import sys
from collections.abc import Mapping

from pip._internal.models.index import PyPI

from sandboxes.errors import InvalidInputError

# pip's own order: the environment, then the command's section, then the global one.
_KEYS = (":env:.index-url", "install.index-url", "download.index-url", "global.index-url")


def configured_index(environ: Mapping[str, str] | None = None) -> str:
    """The index URL, credentials included; raises `InvalidInputError` when pip's settings cannot be read."""
    settings = [line.partition("=") for line in _pip(["list"], environ).splitlines()]
    for key in _KEYS:
        values = [value for name, _, value in settings if name == key]
        # `list` shows a key once per file that sets it; only `get` knows which of these counts.
        url = (
            _literal(values[0]) if len(values) == 1 else _pip(["get", key], environ).strip() if values else ""
        )
        if url:
            return url
    return PyPI.simple_url


def _literal(value: str) -> str:
    """`list` shows values as Python literals."""
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return ""


def _pip(arguments: list[str], environ: Mapping[str, str] | None) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-color", "config", *arguments]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise InvalidInputError(
            "pip's settings cannot be read (`pip config list` fails); set INDEX_UPSTREAM."
        ) from error
    return done.stdout
