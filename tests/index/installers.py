"""Each client as people use it: a project or a target folder, an index URL, and what came of it."""

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.index.clients import environment

PATIENCE = 120  # seconds; nothing here may wait for a person
# All that a client may know of its machine: a setting, a proxy or a `CI` of the machine's own changes what it prints.
_OURS = ("PATH", "TMPDIR", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Result:
    code: int
    output: str
    site: Path  # where it installed to

    @property
    def installed(self) -> dict[str, str]:
        found = [
            path.name.removesuffix(".dist-info").rsplit("-", 1) for path in self.site.glob("*.dist-info")
        ]
        return {name.replace("_", "-"): version for name, version in found}


def run(command: list[str], folder: Path, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code, and what a person sees in a terminal so wide that nothing wraps."""
    kept = {name: os.environ[name] for name in _OURS if name in os.environ}
    quiet = {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "COLUMNS": "2000",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | quiet | dict(environ or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


class Installer(ABC):
    """`binary` is the client's own, in its environment."""

    def __init__(self, name: str, environment_name: str = "") -> None:
        self.name = name
        self.binary = environment(environment_name or name) / "bin"

    @abstractmethod
    def install(self, folder: Path, index: str, *requirements: str) -> Result: ...


class Pip(Installer):
    def command(self, *arguments: str) -> list[str]:
        options = ["--isolated", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
        return [str(self.binary / "python"), "-m", "pip", *options, *arguments]

    def install(self, folder: Path, index: str, *requirements: str) -> Result:
        site = folder / "target"
        options = ["--progress-bar", "off", "--target", str(site), "--index-url", f"{index}/"]
        return Result(*run(self.command("install", *options, *requirements), folder), site)


class Uv(Installer):
    def command(self, *arguments: str) -> list[str]:
        return [str(self.binary / "uv"), "--no-cache", "--no-progress", *arguments]

    def install(self, folder: Path, index: str, *requirements: str) -> Result:
        site = folder / "target"
        options = ["--python", sys.executable, "--target", str(site), "--default-index", f"{index}/"]
        return Result(*run(self.command("pip", "install", *options, *requirements), folder), site)


class _Projects(Installer):
    """Clients that know projects: each gets one with a virtual environment that is there already."""

    arguments: tuple[str, ...]

    def install(self, folder: Path, index: str, *requirements: str) -> Result:
        environ = {"VIRTUAL_ENV": str(folder / ".venv")} | self.settings(folder, index)
        uv = str(environment("uv") / "bin" / "uv")
        run([uv, "--quiet", "venv", "--python", sys.executable, ".venv"], folder)
        self.write(folder, index, requirements)
        [site] = folder.glob(".venv/lib/python*/site-packages")
        code, output = run([str(self.binary / self.name), *self.arguments], folder, environ)
        return Result(code, output, site)

    def settings(self, folder: Path, index: str) -> dict[str, str]:
        return {}

    @abstractmethod
    def write(self, folder: Path, index: str, requirements: tuple[str, ...]) -> None: ...


class Poetry(_Projects):
    arguments = ("install", "--no-interaction", "--no-root", "--no-ansi")

    def settings(self, folder: Path, index: str) -> dict[str, str]:
        parts = urlsplit(index)
        return {
            "POETRY_HTTP_BASIC_PETRIDISH_USERNAME": parts.username or "",
            "POETRY_HTTP_BASIC_PETRIDISH_PASSWORD": parts.password or "",
            "POETRY_KEYRING_ENABLED": "false",
            "POETRY_CACHE_DIR": str(folder / ".cache"),
        }

    def write(self, folder: Path, index: str, requirements: tuple[str, ...]) -> None:
        url = f"{index.partition('//')[0]}//{index.rpartition('@')[2]}/"
        source = f'[[tool.poetry.source]]\nname = "petridish"\nurl = "{url}"\npriority = "primary"\n'
        (folder / "pyproject.toml").write_text(_project(requirements) + source)


class Pdm(_Projects):
    arguments = ("install", "--no-self", "--no-isolation", "-p", ".")

    def settings(self, folder: Path, index: str) -> dict[str, str]:
        return {
            "PDM_CHECK_UPDATE": "false",
            "PDM_CACHE_DIR": str(folder / ".cache"),
            "PDM_LOG_DIR": str(folder),
        }

    def write(self, folder: Path, index: str, requirements: tuple[str, ...]) -> None:
        source = f'[tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{index}"\n'
        (folder / "pyproject.toml").write_text(_project(requirements) + source)


class Pipenv(_Projects):
    arguments = ("install",)

    def settings(self, folder: Path, index: str) -> dict[str, str]:
        return {"PIPENV_VERBOSITY": "-1", "PIPENV_NOSPIN": "1", "PIPENV_CACHE_DIR": str(folder / ".cache")}

    def write(self, folder: Path, index: str, requirements: tuple[str, ...]) -> None:
        packages = "".join(_pipfile_line(each) for each in requirements)
        source = f'[[source]]\nname = "petridish"\nurl = "{index}"\nverify_ssl = false\n'
        (folder / "Pipfile").write_text(f"{source}[packages]\n{packages}")


def _project(requirements: tuple[str, ...]) -> str:
    listed = ", ".join(f'"{each}"' for each in requirements)
    return (
        f'[project]\nname = "trial"\nversion = "1"\nrequires-python = ">=3.12"\ndependencies = [{listed}]\n'
    )


def _pipfile_line(requirement: str) -> str:
    name, _, version = requirement.partition("==")
    return f'{name} = "{f"=={version}" if version else "*"}"\n'


INSTALLERS: dict[str, Callable[[], Installer]] = {
    "pip-23.2": lambda: Pip("pip", "pip-23.2"),
    "pip": lambda: Pip("pip"),
    "uv": lambda: Uv("uv"),
    "poetry": lambda: Poetry("poetry"),
    "pdm": lambda: Pdm("pdm"),
    "pipenv": lambda: Pipenv("pipenv"),
}
