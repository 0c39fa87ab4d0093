"""npm, pnpm and Yarn as people use them: a project, a registry in `.npmrc`, and what came of it.

Each is fetched once by the machine's own npm, from the registry that is set there, and kept in the data folder.
Not every machine has npm: they must be there only where `PETRIDISH_REQUIRE_CLIENTS` is `all`.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandboxes.cluster.npmrc import npmrc, registry
from tests.index.clients import REQUIRED, do_without
from tests.index.installers import run
from tests.plugin import DATA

NPM = shutil.which("npm")
PACKAGES = {"npm": "npm@11.21.2", "pnpm": "pnpm@10.34.8", "yarn": "yarn@1.22.22"}
_ADD = {
    "npm": ["install", "--logs-max=0", "--fetch-retries=0"],
    "pnpm": ["add", "--reporter=append-only", "--fetch-retries=0"],
    "yarn": ["add", "--non-interactive", "--no-progress"],
}
_CACHES: dict[str, Callable[[Path], dict[str, str]]] = {
    "npm": lambda folder: {"NPM_CONFIG_CACHE": str(folder / ".npm")},
    "pnpm": lambda folder: {"NPM_CONFIG_STORE_DIR": str(folder / ".store")},
    "yarn": lambda folder: {"YARN_CACHE_FOLDER": str(folder / ".yarn")},
}
_MAKING = 300  # seconds until a machine counts as one without a network
# What a client says of itself: its own lines of code, where to read more, how far it is.
_OWN = re.compile(r"^(?:    at |info Visit |Progress: |@jsr:|yarn \S+ v).*\n", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    code: int
    output: str
    installed: str  # the version of the package; "" for none


class Client:
    def __init__(self, name: str) -> None:
        self.name = name
        self._binary = _environment(name) / "node_modules" / ".bin" / name

    def add(self, folder: Path, index: str, package: str, version: str = "") -> Result:
        """`index`: as sandboxes are given it, `http://NAME:TOKEN@HOST:PORT/simple`."""
        wanted = f"{package}@{version}" if version else package
        return self.command(folder, index, package, *_ADD[self.name], wanted)

    def command(self, folder: Path, index: str, package: str, *arguments: str) -> Result:
        always = "always-auth=true\n" if self.name == "yarn" else ""
        (folder / ".npmrc").write_text(f"registry={registry(index)}\n{always}{npmrc(index)}")
        if not (folder / "package.json").exists():
            (folder / "package.json").write_text('{"name": "trial", "version": "0.0.1", "license": "MIT"}\n')
        environ = {"NPM_CONFIG_UPDATE_NOTIFIER": "false"} | _CACHES[self.name](folder)
        code, output = run([str(self._binary), *arguments], folder, environ)
        manifest = folder / "node_modules" / package / "package.json"
        installed = json.loads(manifest.read_text())["version"] if manifest.exists() else ""
        return Result(code, _OWN.sub("", output), installed)


def _environment(name: str) -> Path:
    """Where it cannot be made, there is no test."""
    made = _made(name)
    if isinstance(made, str):
        do_without(name, made, required=os.environ.get(REQUIRED) == "all")
    return made


@cache
def _made(name: str) -> Path | str:
    if NPM is None:
        return "there is no npm"
    folder = DATA / "clients" / PACKAGES[name].replace("@", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other workers wait, and find it made
        if not (folder / "whole").exists():
            options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
            try:
                subprocess.run(
                    [NPM, "install", *options, PACKAGES[name]],
                    check=True,
                    capture_output=True,
                    timeout=_MAKING,
                    cwd=folder,
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                return type(error).__name__
            (folder / "whole").touch()
    return folder
