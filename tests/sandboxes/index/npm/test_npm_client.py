"""Real npm, installing through the index: what it takes unasked, and what people read when policy refuses."""

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from sandboxes.cluster.npmrc import npmrc
from sandboxes.cluster.npmrc import registry as registry_url
from tests.sandboxes.index.conftest import PORTAL, TOKEN, Index
from tests.sandboxes.index.npm.conftest import ago, answers
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.test_clients import index_url

NPM = shutil.which("npm")
PATIENCE = 60  # seconds; nothing here may wait for a person
WHY = f"why {PORTAL}/why/npm/demo/2.0.0/"

pytestmark = pytest.mark.skipif(NPM is None, reason="no npm on this machine")


@dataclass
class Npm:
    folder: Path
    index: Index
    token: str = TOKEN

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all output, with the settings that workspaces have."""
        project = self.folder / "project"
        project.mkdir(exist_ok=True)
        settings = self.folder / "npmrc"
        settings.write_text(npmrc(index_url(self.index, self.token)))
        foreign = ("NPM_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NODE_")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
        process = await asyncio.create_subprocess_exec(
            NPM or "",
            *arguments,
            cwd=project,
            env=kept
            | {
                "HOME": str(self.folder),
                "NPM_CONFIG_REGISTRY": registry_url(index_url(self.index)),
                "NPM_CONFIG_GLOBALCONFIG": str(settings),
                "NPM_CONFIG_CACHE": str(self.folder / "cache"),
                "NPM_CONFIG_UPDATE_NOTIFIER": "false",
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode or 0, output.decode()

    def has(self, name: str) -> str:
        """The version that is installed; "" for none."""
        manifest = self.folder / "project" / "node_modules" / name / "package.json"
        return str(json.loads(manifest.read_text())["version"]) if manifest.exists() else ""

    def forget_packages(self) -> None:
        """All but the lock file."""
        shutil.rmtree(self.folder / "project" / "node_modules")
        shutil.rmtree(self.folder / "cache")


@pytest.fixture
def npm(index: Index, tmp_path: Path) -> Npm:
    return Npm(tmp_path, index)


async def test_install(npm: Npm, index: Index, registry: RegistryServer) -> None:
    """Dependencies, a scope, a tarball elsewhere at the upstream; audits are not here and not missed."""
    leaf = make_tarball("@acme/leaf", "1.2.3")
    tree = make_tarball("tree", "1.0.0", dependencies={"@acme/leaf": "^1.0.0"})
    registry.add(leaf, tree)
    code, output = await npm.run("install", "tree")
    assert code == 0, output
    assert (npm.has("tree"), npm.has("@acme/leaf")) == ("1.0.0", "1.2.3")
    installs = await index.rows("SELECT * FROM usage_install ORDER BY project")
    assert [(row["ecosystem"], row["project"], row["version"], row["sha256"]) for row in installs] == [
        ("npm", "@acme/leaf", "1.2.3", leaf.sha256),
        ("npm", "tree", "1.0.0", tree.sha256),
    ]
    assert all(row["client"].startswith("npm ") for row in installs)
    lock = (npm.folder / "project" / "package-lock.json").read_text()
    assert leaf.integrity in lock
    assert TOKEN not in lock


@pytest.mark.parametrize("asked", ["demo", "demo@latest", "demo@^1 || ^2", "demo@>=1"])
async def test_an_unpinned_install_takes_the_older_version(
    npm: Npm, index: Index, fresh: Tarball, asked: str
) -> None:
    code, output = await npm.run("install", asked)
    assert code == 0, output
    assert npm.has("demo") == "1.0.0"
    pages = await index.rows("SELECT DISTINCT withheld, withheld_by FROM usage_fetch WHERE kind = 'page'")
    assert pages == [{"withheld": "2.0.0", "withheld_by": "cooldown"}]


async def test_a_deprecated_version_is_taken_before_a_refused_one(
    npm: Npm, registry: RegistryServer, fresh: Tarball
) -> None:
    """Why refusals are no deprecations: among those npm would take the newest."""
    registry.manifests["demo@1.0.0"] = {"deprecated": "use something else"}
    code, output = await npm.run("install", "demo")
    assert code == 0, output
    assert npm.has("demo") == "1.0.0"


@pytest.mark.parametrize("asked", ["demo@2.0.0", "demo@^2"])
async def test_a_pinned_install_stops_with_the_whole_reason(npm: Npm, fresh: Tarball, asked: str) -> None:
    code, output = await npm.run("install", asked)
    assert code != 0
    assert "E403" in output
    assert "demo@2.0.0: [cooldown] released " in output
    assert "; opens " in output
    assert WHY in output
    assert npm.has("demo") == ""


async def test_a_lock_file_opens_nothing(npm: Npm, index: Index, fresh: Tarball) -> None:
    """It names the tarball, so no packument is asked for: what refuses is the tarball."""
    await index.rows("UPDATE index_policysetting SET cooldown = '0'")
    await until(lambda: answers(index, fresh.path, 200))
    code, output = await npm.run("install", "demo@2.0.0")
    assert code == 0, output
    npm.forget_packages()
    await index.rows("UPDATE index_policysetting SET cooldown = '7 days'")
    await until(lambda: answers(index, fresh.path, 403))
    code, output = await npm.run("ci")
    assert code != 0
    assert "403 [cooldown] released " in output
    assert WHY in output


async def test_a_lock_file_of_another_registry(npm: Npm, demo: Tarball) -> None:
    """As it comes with a project: npm puts its own registry in the place of the public one."""
    code, output = await npm.run("install", "demo")
    assert code == 0, output
    lock = npm.folder / "project" / "package-lock.json"
    elsewhere = "https://registry.example/"
    lock.write_text(lock.read_text().replace(f"{npm.index.url}/npm/", elsewhere))
    assert elsewhere in lock.read_text()
    npm.forget_packages()
    code, output = await npm.run("ci", "--replace-registry-host=always")
    assert code == 0, output
    assert npm.has("demo") == "1.0.0"


async def test_wrong_bytes_are_never_installed(npm: Npm, registry: RegistryServer, demo: Tarball) -> None:
    registry.data["demo_1.0.0.tar.gz"] = make_tarball(version="6.6.6").data
    code, output = await npm.run("install", "demo", "--fetch-retries=0")
    assert code != 0
    assert "another sha512" in output
    assert npm.has("demo") == ""


async def test_a_name_of_our_own_says_so(npm: Npm, index: Index, registry: RegistryServer) -> None:
    registry.add(make_tarball("@acme/tool", "9.9.9"))
    await index.rows(
        "INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source)"
        " VALUES ('', 'npm', 'internal', '@acme/*', '', '')"
    )
    await until(lambda: answers(index, "/npm/@acme%2ftool", 403))
    registry.asked.clear()
    code, output = await npm.run("install", "@acme/tool")
    assert code != 0
    assert "[internal-name] @acme/tool is a name of our own and never comes from outside" in output
    assert not registry.asked


async def test_view_shows_the_full_form(npm: Npm, registry: RegistryServer, fresh: Tarball) -> None:
    code, output = await npm.run("view", "demo", "description", "version", "versions", "time", "--json")
    assert code == 0, output
    shown = json.loads(output)
    assert (shown["description"], shown["version"]) == ("for tests", "1.0.0")
    assert shown["versions"] in ("1.0.0", ["1.0.0"])  # npm's own forms differ
    assert "2.0.0" not in shown["time"]


@pytest.mark.usefixtures("clear_screening")
async def test_an_install_says_nothing_frightening_and_audits(npm: Npm, index: Index, demo: Tarball) -> None:
    """With npm's own defaults: it audits each install, and looks for funding."""
    code, output = await npm.run("install", "demo", "--audit=true", "--fund=true")
    assert (code, "added 1 package, and audited 2 packages" in output) == (0, True), output
    assert "found 0 vulnerabilities" in output
    assert not [line for line in output.splitlines() if line.startswith(("npm warn", "npm error"))]
    await index.rows(
        "WITH advisory AS (INSERT INTO screening_advisory (id, ecosystem, modified, malicious, severity,"
        " summary, aliases, document, source, imported_at) VALUES ('GHSA-1', 'npm', now(), false, 3,"
        " 'It leaks.', '{}', '{}', 'test', now()) RETURNING id) INSERT INTO screening_affected"
        " (advisory_id, ecosystem, project, versions, ranges)"
        """ SELECT id, 'npm', 'demo', '{}', '[[["introduced", "0"], ["fixed", "2.0.0"]]]' FROM advisory"""
    )
    code, output = await npm.run("audit")
    assert code == 1
    assert "GHSA-1: It leaks." in output
    assert "1 high severity vulnerability" in output
    assert f"{PORTAL}/why/npm/demo/1.0.0/" in output


@pytest.mark.parametrize("command", [["search", "demo"], ["ping"]])
async def test_what_is_not_here_ends_at_once_and_says_so(npm: Npm, command: list[str]) -> None:
    code, output = await npm.run(*command)
    assert code != 0
    assert "This registry has packages to install and audits" in output


async def test_wrong_credentials_end_promptly(npm: Npm, demo: Tarball) -> None:
    npm.token = "wrong"
    code, output = await npm.run("install", "demo")
    assert code != 0
    assert "E401" in output


async def test_many_old_versions_and_one_fresh(npm: Npm, registry: RegistryServer) -> None:
    for minor in range(5):
        registry.add(make_tarball(version=f"1.{minor}.0"))
    registry.add(make_tarball(version="1.5.0"), published=ago(timedelta(hours=1)))
    code, output = await npm.run("install", "demo@^1.1")
    assert code == 0, output
    assert npm.has("demo") == "1.4.0"
