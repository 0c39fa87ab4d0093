"""An upstream that is asked with credentials, and one file that it has."""

from collections.abc import AsyncIterator

import pytest

from sandboxes.index.config import Source, source
from sandboxes.index.upstream import Upstream
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import make_wheel

WHEEL = make_wheel()


@pytest.fixture
async def asked(upstream: UpstreamServer) -> AsyncIterator[Upstream]:
    """The upstream, asked with credentials."""
    upstream.add("demo", WHEEL)
    made = Upstream(source_of(upstream))
    yield made
    await made.close()


def source_of(upstream: UpstreamServer) -> Source:
    return source("INDEX_UPSTREAM", upstream.url.replace("://", "://me:secret@"))


async def fetch(upstream: Upstream, url: str) -> bytes:
    async with upstream.file(url, WHEEL.filename) as download:
        return b"".join([chunk async for chunk in download.chunks])


def file_of(server: UpstreamServer) -> str:
    return server.url.replace("/simple/", f"/packages/{WHEEL.filename}")
