"""What people read in their terminal when policy refuses an npm package: each client, word for word."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from time import sleep
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from portal.accounts.models import User
from sandboxes.cluster.npmrc import npmrc
from sandboxes.index.models import ListEntry, Packument, Tarball, Waiver
from sandboxes.screening.models import Advisory, Affected
from tests.index import golden
from tests.index.npm_clients import PACKAGES, Client, Result
from tests.index.projects import YESTERDAY
from tests.index.world import PATIENCE, Loop, World, started
from tests.sandboxes.index.conftest import PORTAL, committed
from tests.sandboxes.index.npm.registry_server import RegistryServer, make_tarball

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Refusal:
    """Version 2.0.0 of `package` is refused, and 1.0.0 is given; `says` is its reason, dates aside."""

    package: str
    says: str


REFUSALS = {
    "cooldown": Refusal("fresh", "released DATE, too fresh to be given; opens DATE"),
    "denied": Refusal("unwanted", "unwanted@>=2.0.0 is not given here: it phones home"),
    "malicious": Refusal("evil", "known to be malicious (MAL-9)"),
}
OURS = "@acme/core"
# Versions of the dependency in package.json and all kinds of lock file; the project's own is another.
_NEWER = re.compile(r"(unwanted@?\^?|unwanted-|\^|(?:specifier|version):? \"?\^?|\"version\": \")1\.0\.0")
WAIVED = "waived"


class NpmWorld(World):
    registry: RegistryServer


@pytest.fixture(scope="module")
def npm_world(
    world: World, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NpmWorld]:
    """An index of its own, with a registry before it; sandboxes and database are those of `world`."""
    loop, registry = Loop(), RegistryServer()
    for package in (*(case.package for case in REFUSALS.values()), WAIVED, OURS):
        registry.add(make_tarball(package, "1.0.0"))
        late = package in (REFUSALS["cooldown"].package, WAIVED)
        registry.add(make_tarball(package, "2.0.0"), **({"published": YESTERDAY} if late else {}))
    loop.run(registry.start())
    with django_db_blocker.unblock():
        committed(_set_policy)
    with started(tmp_path_factory.mktemp("npm"), INDEX_NPM_UPSTREAM=registry.url) as made:
        npm_world = NpmWorld(made.upstream, made.origin, made.log)
        npm_world.registry = registry
        yield npm_world
    loop.run(registry.stop())
    loop.close()
    with django_db_blocker.unblock():
        committed(_forget)


def _set_policy() -> None:
    _list("deny", "unwanted@>=2.0.0", "it phones home")
    _list("internal", "@acme/*", "")
    now = timezone.now()
    advisory = Advisory.objects.create(
        id="MAL-9", ecosystem="npm", modified=now, malicious=True, document={}, source="test", imported_at=now
    )
    Affected.objects.create(advisory=advisory, ecosystem="npm", project="evil", versions=["2.0.0"])


def _list(kind: str, pattern: str, reason: str) -> None:
    ListEntry.objects.create(profile="", ecosystem="npm", kind=kind, pattern=pattern, reason=reason)


def _forget() -> None:
    Affected.objects.filter(ecosystem="npm").delete()
    Advisory.objects.filter(ecosystem="npm").delete()
    ListEntry.objects.filter(ecosystem="npm").delete()
    for model in (Waiver, Packument, Tarball):
        model._default_manager.all().delete()


def _waive() -> None:
    Waiver.objects.create(
        ecosystem="npm",
        project=WAIVED,
        version="2.0.0",
        rule="cooldown",
        scope="all",
        asked_by=User.objects.get(username="alice"),
        state="granted",
        until=timezone.now() + timedelta(hours=1),
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_an_unpinned_install_takes_the_older_version(npm_world: NpmWorld, tmp_path: Path, name: str) -> None:
    client = Client(name)
    for case in REFUSALS.values():
        result = client.add(tmp_path, npm_world.url(), case.package)
        assert (result.code, result.installed) == (0, "1.0.0"), result.output


@pytest.mark.parametrize("rule", REFUSALS)
@pytest.mark.parametrize("name", PACKAGES)
def test_a_pinned_install_stops(npm_world: NpmWorld, tmp_path: Path, name: str, rule: str) -> None:
    """npm says why; pnpm and Yarn know no such thing, and name what there is instead."""
    case = REFUSALS[rule]
    result = Client(name).add(tmp_path, npm_world.url(), case.package, "2.0.0")
    output = _refused(npm_world, tmp_path, result)
    golden.check(name, f"install {case.package}@2.0.0", output)
    if name == "npm":
        assert f"[{rule}] {case.says}; why {PORTAL}/why/npm/{case.package}/2.0.0/" in output


@pytest.mark.parametrize("name", PACKAGES)
def test_a_lock_file_stops_and_says_why(npm_world: NpmWorld, tmp_path: Path, name: str) -> None:
    """It names the tarball, so no client asks for the packument, and each is told by the tarball."""
    client, case = Client(name), REFUSALS["denied"]
    result = client.add(tmp_path, npm_world.url(), case.package)
    assert result.code == 0, result.output
    _pin_the_newer(npm_world, tmp_path)
    frozen = {
        "npm": ["ci", "--logs-max=0", "--fetch-retries=0"],
        "pnpm": ["install", "--frozen-lockfile", "--reporter=append-only", "--fetch-retries=0"],
        "yarn": ["install", "--frozen-lockfile", "--non-interactive", "--no-progress"],
    }
    result = client.command(tmp_path, npm_world.url(), case.package, *frozen[name])
    output = _refused(npm_world, tmp_path, result)
    golden.check(name, f"install from a lock file with {case.package}@2.0.0", output)
    assert "403" in output
    if name != "yarn":
        assert f"[denied] {case.says}; why {PORTAL}/why/npm/{case.package}/2.0.0/" in output


def _pin_the_newer(npm_world: NpmWorld, folder: Path) -> None:
    """As if the files had been made elsewhere, where 2.0.0 is given."""
    rmtree(folder / "node_modules")
    older, newer = (
        npm_world.registry.document("unwanted")["versions"][version]["dist"] for version in ("1.0.0", "2.0.0")
    )
    for name in ("package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock"):
        path = folder / name
        if path.exists():
            text = path.read_text()
            for key in ("integrity", "shasum"):
                text = text.replace(older[key], newer[key])
            path.write_text(_NEWER.sub(r"\g<1>2.0.0", text))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_name_of_our_own_is_explained_and_nobody_outside_hears_of_it(
    npm_world: NpmWorld, tmp_path: Path, name: str
) -> None:
    result = Client(name).add(tmp_path, npm_world.url(), OURS)
    output = _refused(npm_world, tmp_path, result)
    golden.check(name, f"install {OURS}", output)
    if name != "yarn":
        assert "[internal-name] @acme/core is a name of our own and never comes from outside" in output
    assert not [asked for asked in npm_world.registry.asked if "acme" in asked]


def test_a_waiver_opens_it(npm_world: NpmWorld, tmp_path: Path) -> None:
    client = Client("npm")
    _refused(npm_world, tmp_path, client.add(tmp_path, npm_world.url(), WAIVED, "2.0.0"))
    committed(_waive)
    _until_given(npm_world, f"/npm/{WAIVED}/2.0.0")
    result = client.add(tmp_path, npm_world.url(), WAIVED, "2.0.0")
    assert (result.code, result.installed) == (0, "2.0.0"), result.output


def _until_given(npm_world: NpmWorld, path: str) -> None:
    request = Request(npm_world.origin + path)  # noqa: S310 -- on loopback
    request.add_header("Authorization", f"Basic {npmrc(npm_world.url()).partition('=')[2].strip()}")
    for _ in range(int(PATIENCE / 0.1)):
        try:
            with urlopen(request):  # noqa: S310
                return
        except HTTPError as error:
            error.close()
            sleep(0.1)
    pytest.fail("waited in vain")


def _refused(npm_world: NpmWorld, folder: Path, result: Result) -> str:
    assert result.code != 0, result.output
    assert result.installed == ""
    return golden.normalised(result.output, npm_world, folder)
