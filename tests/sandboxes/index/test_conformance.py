"""The standards' finer points, and that the table in docs/index.md names tests that exist."""

import ast
import dataclasses
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sandboxes.index.app import make_app
from sandboxes.index.config import Config, source
from sandboxes.index.negotiation import Form
from sandboxes.index.page import File, Page, make_page
from sandboxes.index.render import render_names, render_page
from sandboxes.index.upstream_html import parse_html
from sandboxes.index.upstream_json import parse_json
from tests.sandboxes.index.certificates import authority
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

ROOT = Path(__file__).resolve().parents[3]
JSON = "application/vnd.pypi.simple.v1+json"
HERE = "https://index.example"
FILE = File("demo-1.0-py3-none-any.whl", "1.0", "a" * 64, "https://files.example/x.whl", size=1)
PROVENANCE = b'{"version": 1, "attestation_bundles": []}'


def shown(page: Page, **options: str) -> tuple[dict[str, object], str]:
    """As JSON and as HTML."""
    return (
        json.loads(render_page(page, Form.JSON, None, **options)),
        render_page(page, Form.HTML, None, **options).decode(),
    )


ROW = re.compile(r"\| ((?:PEP|RFC) [^|]+) \| [^|]+ \| `([\w/]+\.py)::(\w+)` \|")


def rows() -> Iterator[re.Match[str]]:
    """Of the table of standards; a line of it that cannot be read is a failure."""
    for line in (ROOT / "docs" / "index.md").read_text().splitlines():
        if re.match(r"\| (PEP|RFC)", line):
            row = ROW.fullmatch(line)
            assert row, line
            yield row


def test_each_row_of_the_table_names_a_test_that_exists() -> None:
    named = [(row[2], row[3]) for row in rows()]
    assert len(named) > 25
    for filename, test in named:
        tree = ast.parse((Path(__file__).parent / filename).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert test in {node.name for node in tree.body if isinstance(node, functions)}, f"{filename}::{test}"


def test_every_standard_of_an_index_has_a_row() -> None:
    """In the first column: a number that another row mentions is no row."""
    named = {
        (standard[1], int(number))
        for row in rows()
        if (standard := re.match(r"(PEP|RFC) (\d+(?:, \d+)*)", row[1]))
        for number in standard[2].split(", ")
    }
    peps = {("PEP", number) for number in (503, 592, 629, 658, 691, 700, 714, 740, 792, 833)}
    assert named >= peps | {("RFC", 9110), ("RFC", 9457)}


def test_the_version_is_the_one_for_what_is_on_the_page() -> None:
    """PEP 700: from 1.1 on every file has a size."""
    sized = shown(make_page("demo", [FILE]))[0]
    unsized = shown(make_page("demo", [FILE, replace(FILE, filename="demo-1.0.tar.gz", size=None)]))[0]
    assert sized["meta"] == {"api-version": "1.4"}
    assert unsized["meta"] == {"api-version": "1.0"}
    assert shown(make_page("demo", []))[0]["meta"] == {"api-version": "1.4"}


def test_html_is_of_the_version_at_which_it_is_frozen() -> None:
    meta = '<meta name="pypi:repository-version" content="1.4">'
    for page in (make_page("demo", [FILE]), make_page("demo", [replace(FILE, size=None)])):
        assert meta in shown(page)[1]
    assert meta in render_names(["demo"], Form.HTML).decode()


@pytest.mark.parametrize("reason", ["", 'use "other" & <b>more</b>'])
def test_a_projects_status_is_passed_on(reason: str) -> None:
    page = make_page("demo", [FILE], (), "archived", reason)
    document, html = shown(page)
    assert document["project-status"] == {"status": "archived"} | ({"reason": reason} if reason else {})
    assert '<meta name="pypi:project-status" content="archived">' in html
    assert "<b>" not in html
    again = parse_html("demo", html.encode(), HERE)
    assert (again.status, again.status_reason) == ("archived", reason)
    assert "project-status" not in shown(make_page("demo", [FILE]))[0]


def test_a_page_with_files_is_never_quarantined() -> None:
    """PEP 792: its files must not be offered, whatever the upstream still lists."""
    document, html = shown(make_page("demo", [FILE], ["1.0"], "quarantined", "malware"))
    assert document["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert (document["files"], document["versions"]) == ([], ["1.0"])
    assert 'content="quarantined"' in html
    assert "<a " not in html
    document, html = shown(Page("demo", ("1.0",), (FILE,), status="quarantined"))
    assert "quarantined" not in json.dumps(document) + html


def test_provenance_is_not_named_where_the_index_is_not_secure() -> None:
    page = make_page("demo", [replace(FILE, provenance="https://files.example/x.provenance")])
    for base in ("", "http://index.example"):
        document, html = shown(page, index_url=base)
        assert "provenance" not in json.dumps(document) + html
    document, html = shown(page, index_url=HERE)
    link = f"{HERE}/provenance/demo/{FILE.sha256}/{FILE.filename}"
    assert document["files"][0]["provenance"] == link  # type: ignore[index]
    assert f'data-provenance="{link}"' in html


TEXTS = st.text(max_size=20)


@given(TEXTS, TEXTS, st.sampled_from(["active", "archived", "deprecated", "quarantined", "new", ""]))
def test_whatever_a_status_says_both_forms_say_the_same(reason: str, name: str, status: str) -> None:
    document = {
        "meta": {"api-version": "1.4"},
        "name": name,
        "files": [],
        "versions": [],
        "project-status": {"status": status, "reason": reason},
    }
    page = parse_json("demo", json.dumps(document).encode(), HERE)
    again = parse_html("demo", shown(page)[1].encode(), HERE)
    assert (again.status, again.status_reason) == (page.status, page.status_reason)


@pytest.fixture
async def attested(index: Index, tmp_path: Path) -> AsyncIterator[tuple[Index, UpstreamServer, Package]]:
    """An index that sandboxes reach by https, whose upstream has a file with provenance."""
    certificates, tls = authority(tmp_path)
    server, package = UpstreamServer(), make_wheel()
    await server.start(tls)
    server.add("demo", package)
    server.extra[package.filename] = {
        "provenance": server.url.replace("/simple/", "/packages/demo.provenance")
    }
    server.faults["demo.provenance"] = Fault(data=PROVENANCE)
    trusted = dataclasses.replace(source("INDEX_UPSTREAM", server.url), authorities=certificates)
    config = Config(database_url(), "127.0.0.1", 0, index.folder, (trusted,), url=HERE)
    runner = web.AppRunner(await make_app(config), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield dataclasses.replace(index, url=f"http://127.0.0.1:{runner.addresses[0][1]}"), server, package
    await runner.cleanup()
    await server.stop()


async def test_provenance_is_proxied(attested: tuple[Index, UpstreamServer, Package]) -> None:
    index, _, package = attested
    page = json.loads((await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")).body)
    link = page["files"][0]["provenance"]
    assert link.startswith(f"{HERE}/provenance/")
    reply = await index.ask(link.removeprefix(HERE))
    assert (reply.status, reply.body) == (200, PROVENANCE)
    assert reply.headers["Content-Type"] == "application/vnd.pypi.integrity.v1+json"
    [asked] = await index.rows("SELECT kind, filename FROM usage_fetch WHERE kind <> 'page'")
    assert asked["filename"] == f"{package.filename}.provenance"
    assert (await index.ask(link.removeprefix(HERE), Authorization="")).status == 401


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"version": 2}', b"[" * 9999])
async def test_what_is_no_provenance_is_not_passed_on(
    attested: tuple[Index, UpstreamServer, Package], body: bytes
) -> None:
    index, server, package = attested
    server.faults["demo.provenance"] = Fault(data=body)
    assert (await index.ask(path_of(package).replace("/files/", "/provenance/"))).status == 502


async def test_a_file_without_provenance_has_none(index: Index, demo: Package) -> None:
    assert (await index.ask(path_of(demo).replace("/files/", "/provenance/"))).status == 404


async def test_head_says_what_get_would(index: Index, demo: Package) -> None:
    for path in ("/simple/", "/simple/demo/", path_of(demo), f"{path_of(demo)}.metadata"):
        got = await index.ask(path, Accept=JSON, Accept_Encoding="identity")
        head = await index.ask(path, "HEAD", Accept=JSON, Accept_Encoding="identity")
        assert (head.status, head.body) == (got.status, b"")
        for header in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
            assert head.headers.get(header) == got.headers.get(header), (path, header)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_part_is_given_only_of_the_file_that_the_client_has_begun(
    index: Index, big: Package, stored: bool
) -> None:
    path = path_of(big, "big")
    if stored:
        await index.ask(path)
    for known, partial in ((f'"{big.sha256}"', True), ('"another"', False), (f'W/"{big.sha256}"', False)):
        reply = await index.ask(path, Range="bytes=5-9", If_Range=known)
        expected = (206, big.data[5:10]) if partial else (200, big.data)
        assert (reply.status, reply.body) == expected, known
