"""Tarballs are screened by what they are: a job names the sha256, the storage the integrity."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sandboxes.screening.detectors import attestations
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.refusing import ago
from tests.sandboxes.index.screening.conftest import Start, jobs, start, verdict
from tests.sandboxes.screening.packages import package

__all__ = ["start"]  # a fixture


@pytest.fixture
def floor() -> dict[str, Any]:
    return {"screened": True}


async def test_a_tarball_is_screened_and_given(index: Index, demo: Tarball, start: Start) -> None:
    await start()
    assert (await index.ask(demo.path)).body == demo.data
    found = await verdict(index, demo.sha256)
    assert (found["state"], found["ecosystem"], found["project"]) == ("passed", "npm", "demo")
    assert found["broken"] == ""
    assert await jobs(index) == []


async def test_the_release_before_is_fetched_to_compare_with(
    index: Index, registry: RegistryServer, demo: Tarball, start: Start
) -> None:
    late = make_tarball(version="1.1.0")
    registry.add(late, published=ago(timedelta(days=30)))
    await start()
    assert (await index.ask(late.path)).status == 200
    assert (await verdict(index, late.sha256))["former_sha256"] == demo.sha256
    assert [row["version"] for row in await index.rows("SELECT version FROM usage_install")] == ["1.1.0"]


@pytest.mark.usefixtures("clear_screening")
async def test_what_its_packument_says_goes_along(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    late = make_tarball(version="1.1.0")
    registry.add(late, published=ago(timedelta(days=30)))
    asking = asyncio.create_task(index.ask(late.path))

    async def wanted() -> bool:
        return bool(await jobs(index))

    await until(wanted)
    asking.cancel()
    [job] = await jobs(index)
    facts = job["facts"]
    assert (job["sha256"], job["urgent"]) == (late.sha256, True)
    assert (facts["project"], facts["version"], facts["former_version"]) == ("demo", "1.1.0", "1.0.0")
    assert (facts["releases"], facts["project_since"] < facts["uploaded_at"]) == (2, True)


SLSA = "https://slsa.dev/provenance/v1"


def _manifest(
    tarball: Tarball, *, publisher: str, maintainers: list[str], attested: bool, **user: Any
) -> dict[str, Any]:
    """What npm's registry says of a version besides its package.json."""
    dist: dict[str, Any] = {
        "tarball": f"../files/{tarball.name}_{tarball.version}.tar.gz",
        "integrity": tarball.integrity,
        "unpackedSize": 1000,
        "signatures": [{"keyid": "SHA256:DhQ8wR5APBvFHLF/+Tc+AYvPOdTpcIDqOhxsBHRwC7U", "sig": "MEUCIQ=="}],
    }
    if attested:
        where = f"https://registry.example.com/-/npm/v1/attestations/{tarball.name}@{tarball.version}"
        dist["attestations"] = {"url": where, "provenance": {"predicateType": SLSA}}
    people = [{"name": name, "email": f"{name}@example.com"} for name in maintainers]
    return {
        "_npmUser": {"name": publisher, "email": f"{publisher}@example.com"} | user,
        "maintainers": people,
        "dist": dist,
    }


async def _facts(index: Index, tarball: Tarball) -> dict[str, Any]:
    """Of the job that is made when it is asked for."""
    asking = asyncio.create_task(index.ask(tarball.path))

    async def wanted() -> bool:
        return bool(await jobs(index))

    await until(wanted)
    asking.cancel()
    [job] = await jobs(index)
    return dict(job["facts"])


@pytest.mark.usefixtures("clear_screening")
async def test_who_published_it_and_what_attests_it_goes_along(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    late = make_tarball(version="1.1.0")
    registry.add(late, published=ago(timedelta(days=30)))
    registry.manifests["demo@1.0.0"] = _manifest(
        demo, publisher="anna", maintainers=["anna", "ben"], attested=True
    )
    stolen = _manifest(late, publisher="mallory", maintainers=["mallory"], attested=False)
    del stolen["dist"]["signatures"]
    registry.manifests["demo@1.1.0"] = stolen
    facts = msgspec.convert(await _facts(index, late), Facts)
    assert (facts.former_provenance, facts.provenance) == (True, False)
    assert (facts.former_signed, facts.signed) == (True, False)
    assert (facts.former_publisher, facts.publisher, facts.trusted) == ("anna", "mallory", False)
    assert (facts.former_maintainers, facts.maintainers) == (("anna", "ben"), ("mallory",))
    found = {each.rule for each in attestations.look(package({}, **msgspec.structs.asdict(facts)), None)}
    assert found == {"attestation.gone", "attestation.unsigned", "publisher.new", "publisher.all-others"}


@pytest.mark.usefixtures("clear_screening")
async def test_a_pipeline_that_attests_what_it_does_is_nobody_new(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    late = make_tarball(version="1.1.0")
    registry.add(late, published=ago(timedelta(days=30)))
    registry.manifests["demo@1.0.0"] = _manifest(demo, publisher="anna", maintainers=["anna"], attested=False)
    registry.manifests["demo@1.1.0"] = _manifest(
        late,
        publisher="GitHub Actions",
        maintainers=["anna"],
        attested=True,
        trustedPublisher={"id": "github", "oidcConfigId": "oidc:00000000-0000-0000-0000-000000000000"},
    )
    facts = msgspec.convert(await _facts(index, late), Facts)
    assert (facts.trusted, facts.provenance, facts.publisher) == (True, True, "GitHub Actions")
    assert list(attestations.look(package({}, **msgspec.structs.asdict(facts)), None)) == []


@pytest.mark.usefixtures("clear_screening")
@pytest.mark.parametrize(
    "said",
    [
        {"_npmUser": "anna", "maintainers": "anna <anna@example.com>"},
        {"_npmUser": {"name": ["anna"], "trustedPublisher": True}, "maintainers": [None, {"name": 3}, []]},
        {"_npmUser": None, "maintainers": {"name": "anna"}},
    ],
)
async def test_what_makes_no_sense_there_is_not_known(
    index: Index, registry: RegistryServer, demo: Tarball, said: dict[str, Any]
) -> None:
    registry.manifests["demo@1.0.0"] = said
    facts = msgspec.convert(await _facts(index, demo), Facts)
    assert (facts.publisher, facts.trusted, facts.maintainers) == ("", False, ())
    assert (facts.provenance, facts.signed) == (False, False)
