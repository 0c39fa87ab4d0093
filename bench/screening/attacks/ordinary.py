"""What the samples' packages are besides the attack: small libraries that nobody would mind."""

from bench.screening.attacks.attack import MARKER

COMMENT = f"# {MARKER}\n"
JS_COMMENT = f"// {MARKER}\n"

_TEXT = f'''# {MARKER}
"""Helpers for text."""

import re
import unicodedata

_SPACES = re.compile(r"\\s+")


def squeezed(text):
    """Without spaces at the ends, and with one where there were several."""
    return _SPACES.sub(" ", text).strip()


def slug(text, most=60):
    """For a file name or an address."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:most]


def shortened(text, most):
    if len(text) <= most:
        return text
    return text[: most - 1].rstrip() + "…"
'''

_NUMBERS = f'''# {MARKER}
"""Helpers for numbers."""

import math
from collections import Counter


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def middle(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    if not ordered:
        return math.nan
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def most_common(values, count=1):
    return [value for value, _ in Counter(values).most_common(count)]
'''

# As one finds in many a good package: a client that connects when it is asked to, and a command.
_CLIENT = f'''# {MARKER}
"""Asks a service that speaks JSON."""

import json
import os
from urllib.parse import urlencode
from urllib.request import Request, urlopen

DEFAULT = "https://api.example.invalid/v1"


class Client:
    def __init__(self, base=None, timeout=10):
        self.base = base or os.environ.get("SERVICE_URL", DEFAULT)
        self.timeout = timeout

    def get(self, path, **query):
        """The parsed answer. Raises `OSError` and `ValueError`."""
        url = f"{{self.base}}/{{path.lstrip('/')}}?{{urlencode(query)}}"
        request = Request(url, headers={{"Accept": "application/json"}})
        with urlopen(request, timeout=self.timeout) as answer:
            return json.load(answer)
'''

_SETUP = f"""# {MARKER}
from setuptools import find_packages, setup

setup(
    name="NAME",
    version="VERSION",
    description="Helpers for text and numbers",
    packages=find_packages(),
    python_requires=">=3.9",
)
"""

_INDEX_JS = f"""// {MARKER}
"use strict";

function squeezed(text) {{
  return String(text).replace(/\\s+/g, " ").trim();
}}

function slug(text, most = 60) {{
  const plain = String(text).normalize("NFKD").toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, most);
}}

module.exports = {{ squeezed, slug }};
"""


def library(package: str, init: str = "") -> dict[str, str | bytes]:
    """A Python package. `init`: stands at the end of its `__init__.py`."""
    first = f"{COMMENT}from .numbers import mean, middle\nfrom .text import shortened, slug, squeezed\n"
    return {
        f"{package}/__init__.py": first + init,
        f"{package}/client.py": _CLIENT,
        f"{package}/numbers.py": _NUMBERS,
        f"{package}/text.py": _TEXT,
    }


def setup(project: str, version: str) -> str:
    """An ordinary `setup.py`."""
    return _SETUP.replace("NAME", project).replace("VERSION", version)


def index_js(more: str = "") -> dict[str, str | bytes]:
    return {"index.js": _INDEX_JS + more}
