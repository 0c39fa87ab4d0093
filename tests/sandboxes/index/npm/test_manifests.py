"""One version's manifest, by its number or by a tag; and how packuments and manifests are asked for again."""

import gzip
import json

import pytest
from backports import zstd

from tests.sandboxes.index.conftest import PORTAL, Index
from tests.sandboxes.index.npm.conftest import SHORT, packument
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball


@pytest.mark.parametrize("wanted", ["1.0.0", "latest"])
async def test_a_manifest_is_what_the_packument_says(index: Index, demo: Tarball, wanted: str) -> None:
    reply = await index.ask(f"/npm/demo/{wanted}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    document = await packument(index, accept="*/*")
    assert json.loads(reply.body) == document["versions"]["1.0.0"]


@pytest.mark.parametrize("path", ["/npm/@acme/leaf/latest", "/npm/@acme%2fleaf/2.0.0-rc.1"])
async def test_of_a_scope(index: Index, registry: RegistryServer, path: str) -> None:
    registry.add(make_tarball("@acme/leaf", "2.0.0-rc.1"))
    assert json.loads((await index.ask(path)).body)["version"] == "2.0.0-rc.1"


async def test_a_tag_means_what_is_given(index: Index, fresh: Tarball) -> None:
    """And it is on record what was withheld."""
    assert json.loads((await index.ask("/npm/demo/latest")).body)["version"] == "1.0.0"
    [fetch] = await index.rows("SELECT kind, project, withheld, withheld_by FROM usage_fetch")
    assert fetch == {"kind": "page", "project": "demo", "withheld": "2.0.0", "withheld_by": "cooldown"}


async def test_a_refused_version_says_why(index: Index, fresh: Tarball) -> None:
    reply = await index.ask("/npm/demo/2.0.0")
    assert (reply.status, reply.reason) == (403, (await index.ask(fresh.path)).reason)
    problem = json.loads(reply.body)
    assert (problem["rule"], problem["why"]) == ("cooldown", f"{PORTAL}/why/npm/demo/2.0.0/")
    [*_, fetch] = await index.rows("SELECT kind, refused FROM usage_fetch ORDER BY id DESC")
    assert fetch == {"kind": "page", "refused": "cooldown"}


@pytest.mark.parametrize("wanted", ["9.9.9", "next", "1.0", "^1", "%20"])
async def test_what_is_no_version(index: Index, demo: Tarball, wanted: str) -> None:
    assert (await index.ask(f"/npm/demo/{wanted}")).status == 404


@pytest.mark.parametrize("path", ["/npm/demo", "/npm/demo/1.0.0"])
async def test_head_and_conditions(index: Index, demo: Tarball, path: str) -> None:
    plain = await index.ask(path, Accept=SHORT)
    head = await index.ask(path, "HEAD", Accept=SHORT)
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type"):
        assert head.headers[name] == plain.headers[name]
    for tag in (plain.headers["ETag"], f"W/{plain.headers['ETag']}", "*"):
        again = await index.ask(path, Accept=SHORT, If_None_Match=tag)
        assert (again.status, again.body) == (304, b"")
    assert (await index.ask(path, Accept=SHORT, If_None_Match='"other"')).status == 200


@pytest.mark.parametrize(("accepted", "coding"), [("gzip", "gzip"), ("zstd", "zstd"), ("br", None)])
async def test_only_what_is_accepted_is_packed(
    index: Index, registry: RegistryServer, accepted: str, coding: str | None
) -> None:
    registry.add(*(make_tarball(version=f"1.{minor}.0") for minor in range(20)))
    plain = await index.ask("/npm/demo", Accept_Encoding="identity")
    reply = await index.ask("/npm/demo", Accept_Encoding=accepted)
    assert reply.headers.get("Content-Encoding") == coding
    unpacked = {"gzip": gzip.decompress, "zstd": zstd.decompress}.get(coding or "", bytes)(reply.body)
    assert unpacked == plain.body
