"""Several registries: who is asked for which names, and names of our own that nobody outside hears."""

from collections.abc import AsyncIterator
from itertools import count

import pytest

from sandboxes.index import config
from sandboxes.index.config import Config, Source
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.patterns import parse
from tests.sandboxes.index.conftest import Index, serving
from tests.sandboxes.index.npm.conftest import answers, expire, packument
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.patience import until

INTERNAL = """
INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source)
VALUES ('', 'npm', 'internal', '@acme/*', '', %(source)s)"""


PROBES = count()


@pytest.fixture
async def ours() -> AsyncIterator[RegistryServer]:
    """The company's own registry, which wants credentials."""
    server = RegistryServer(authorization="Bearer ours")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def named(ours: RegistryServer) -> tuple[Source, ...]:
    patterns = tuple(parse(name, Ecosystem.NPM) for name in ("@acme/*", "acme-tool"))
    return (Source(ours.url, "Bearer ours", name="ours", names=patterns),)


@pytest.fixture
def tool(ours: RegistryServer, registry: RegistryServer) -> Tarball:
    """Version 1.0.0 of `@acme/tool`, ours; somebody has registered 99.0.0 outside."""
    tarball = make_tarball("@acme/tool")
    ours.add(tarball)
    registry.add(make_tarball("@acme/tool", "99.0.0"))
    return tarball


@pytest.mark.parametrize(
    "path", ["/npm/@acme%2ftool", "/npm/@ACME/Tool", "/npm/acme-tool", "/npm/@acme/none"]
)
async def test_a_name_of_ours_is_asked_of_nobody_else(
    index: Index, registry: RegistryServer, ours: RegistryServer, tool: Tarball, path: str
) -> None:
    await index.ask(path)
    assert not registry.asked
    assert sum(ours.asked.values()) == 1


async def test_ours_is_given(index: Index, registry: RegistryServer, tool: Tarball) -> None:
    assert list((await packument(index, "@acme/tool"))["versions"]) == ["1.0.0"]
    assert (await index.ask(tool.path)).body == tool.data
    assert not registry.asked


async def test_when_ours_fails_nobody_else_is_asked(
    index: Index, registry: RegistryServer, ours: RegistryServer, tool: Tarball
) -> None:
    ours.status = 500
    assert (await index.ask("/npm/@acme/tool")).status == 502
    assert not registry.asked


async def test_ours_hears_of_nothing_else(index: Index, ours: RegistryServer, demo: Tarball) -> None:
    assert (await index.ask(demo.path)).status == 200
    assert not ours.asked


async def test_a_list_of_own_names_lets_ours_through(
    index: Index, registry: RegistryServer, tool: Tarball
) -> None:
    await index.rows(INTERNAL, source="ours")
    registry.add(make_tarball("@acme-others/tool"))
    assert (await index.ask(tool.path)).body == tool.data
    assert not registry.asked


async def test_a_list_that_names_nobody_closes_all(
    index: Index, registry: RegistryServer, ours: RegistryServer, tool: Tarball
) -> None:
    assert (await index.ask(tool.path)).status == 200
    await index.rows(INTERNAL, source="")
    await until(lambda: answers(index, "/npm/@acme/tool", 403))
    ours.asked.clear()
    for path in (tool.path, "/npm/@acme/tool/latest", "/npm/@acme/other"):
        reply = await index.ask(path)
        assert (reply.status, reply.reason.startswith("[internal-name] ")) == (403, True)
    assert not ours.asked
    assert not registry.asked


class TestWithoutARoute:
    """The list says that ours has them, and no upstream is said to: outside is asked for all names then."""

    @pytest.fixture
    def named(self, ours: RegistryServer) -> tuple[Source, ...]:
        return (Source(ours.url, "Bearer ours", name="ours"),)

    async def test_ours_alone_hears_of_them(
        self, index: Index, registry: RegistryServer, ours: RegistryServer, tool: Tarball
    ) -> None:
        await index.rows(INTERNAL, source="ours")
        await until(lambda: hears(index, registry))
        for path in (tool.path, "/npm/@acme/none"):
            await index.ask(path)
        assert ours.asked["@acme/none"] == 1
        assert all(name.startswith("@acme/probe") for name in registry.asked)

    async def test_others_are_asked_in_their_order(
        self, index: Index, registry: RegistryServer, ours: RegistryServer, demo: Tarball
    ) -> None:
        assert (await index.ask(demo.path)).status == 200
        assert (ours.asked["demo"], registry.asked["demo"]) == (1, 1)
        ours.add(make_tarball(version="3.0.0"))
        await expire(index)
        assert list((await packument(index))["versions"]) == ["3.0.0"]  # never merged


async def hears(index: Index, registry: RegistryServer) -> bool:
    """Whether a list that was just written holds: the registry outside does not hear the name."""
    name = f"@acme/probe{next(PROBES)}"
    await index.ask(f"/npm/{name}")
    return name not in registry.asked


async def test_a_packument_does_not_outlive_the_rule_that_another_has_it(
    index: Index, config: Config, registry: RegistryServer, ours: RegistryServer, tool: Tarball
) -> None:
    """As when a registry of our own is added: what was kept of the public one's is not shown any more."""
    outside = Config(**(vars(config) | {"npm_named": ()}))
    async with serving(outside) as before:
        assert list((await packument(before, "@acme/tool"))["versions"]) == ["99.0.0"]
    assert list((await packument(index, "@acme/tool"))["versions"]) == ["1.0.0"]
    await ours.stop()
    async with serving(outside) as before:
        await packument(before, "@acme/tool")
    assert (await index.ask("/npm/@acme/tool")).status == 502


READ = {"DATABASE_URL": "postgresql://localhost/x", "INDEX_UPSTREAM": "none"}


def test_settings() -> None:
    settings = config.read(
        READ
        | {
            "INDEX_NPM_UPSTREAM": "https://registry.example/",
            "INDEX_NPM_UPSTREAMS": "ours=https://npm.example/repo names=@acme/*,acme-tool",
            "INDEX_NPM_UPSTREAM_OURS_AUTH": "Bearer secret",
        }
    )
    ours, public = settings.npm_sources
    assert (ours.name, ours.url, ours.authorization) == ("ours", "https://npm.example/repo/", "Bearer secret")
    assert [str(pattern) for pattern in ours.names] == ["@acme/*", "acme-tool"]
    assert (public.name, public.url, public.authorization) == ("npm", "https://registry.example/", "")
    assert settings.sources == ()
