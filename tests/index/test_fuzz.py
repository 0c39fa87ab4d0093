"""Whatever is asked, however it is asked: an answer that HTTP allows, errors that can be read, and never a failure."""

import base64
import json
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.index.graphs import RELEASES
from tests.index.world import TOKEN, World

pytestmark = pytest.mark.django_db

PATIENCE = 20.0  # seconds
AUTH = b"Basic " + base64.b64encode(f"dish:{TOKEN}".encode())
TYPES = [
    b"*/*",
    b"text/html",
    b"text/*",
    b"application/vnd.pypi.simple.v1+json",
    b"application/vnd.pypi.simple.v1+html",
    b"application/vnd.pypi.simple.latest+json",
    b"application/xml",
]
WEIGHTS = [b"", b";q=0", b";q=1.0", b";q=0.001", b"; q=2", b";q=x", b";v=1;q=.5"]

# What a header may hold (RFC 9110, 5.5): visible characters, spaces and tabs within, and obsolete bytes.
values = st.lists(st.integers(0x21, 0xFF).filter(lambda byte: byte != 0x7F), max_size=40).map(bytes)
lists = st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(WEIGHTS)).map(b"".join), max_size=4).map(
    b", ".join
)
codings = st.lists(
    st.tuples(st.sampled_from([b"gzip", b"zstd", b"br", b"identity", b"*"]), st.sampled_from(WEIGHTS)).map(
        b"".join
    )
).map(b", ".join)
numbers = st.one_of(st.just(""), st.integers(0, 5000).map(str), st.just("9" * 30))
ranges = st.lists(st.tuples(numbers, numbers).map("-".join), min_size=1, max_size=3).map(
    lambda parts: f"bytes={','.join(parts)}".encode()
)
tags = st.one_of(
    st.just(b"*"),
    values,
    values.map(lambda value: b'"' + value + b'"'),
    values.map(lambda value: b"W/" + value),
)
agents = st.one_of(
    values,
    st.dictionaries(st.text(max_size=5), st.text(max_size=9)).map(
        lambda said: f"pip/26.3 {json.dumps(said)}".encode()
    ),
)
authorizations = st.one_of(
    st.just(AUTH),
    st.just(b""),
    values,
    st.binary(min_size=1, max_size=30).map(lambda data: b"Basic " + base64.b64encode(data)),
)
headers = st.fixed_dictionaries(
    {"Authorization": st.one_of(st.just(AUTH), authorizations)},
    optional={
        "Accept": st.one_of(lists, values),
        "Accept-Encoding": st.one_of(codings, values),
        "Range": st.one_of(ranges, values),
        "If-Range": tags,
        "If-None-Match": tags,
        "If-Modified-Since": values,
        "User-Agent": agents,
    },
)
names = st.one_of(
    st.sampled_from([release.name for release in RELEASES]),
    st.text(max_size=30),
    st.sampled_from([".", "..", "%"]),
)
methods = st.sampled_from(
    ["GET", "HEAD", "GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"]
)


def _quoted(parts: list[str]) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


digests = st.text("0123456789abcdef", min_size=64, max_size=64)
pieces = st.sampled_from([*"/%?&=;:@", "simple", "files", "%2F", "%00", "%ff", "%zz", "a"])
paths = st.one_of(
    names.map(lambda name: _quoted(["simple", name, ""])),
    names.map(lambda name: _quoted(["pypi", name, "json"])),
    st.lists(names, max_size=5).map(_quoted),
    st.tuples(st.sampled_from(["files", "packages", "provenance"]), names, digests, names)
    .map(list)
    .map(_quoted),
    st.lists(pieces).map(lambda parts: f"/{''.join(parts)}"),
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(world: World, method: str, path: str, sent: dict[str, bytes]) -> Answer:
    """Read by h11, which takes nothing that is not as RFC 9112 has it."""
    address = urlsplit(world.origin)
    connection = h11.Connection(h11.CLIENT)
    lines = [(b"Host", address.netloc.encode()), *((name.encode(), value) for name, value in sent.items())]
    request = h11.Request(method=method, target=path, headers=[*lines, (b"Connection", b"close")])
    with socket.create_connection((address.hostname, address.port), PATIENCE) as channel:
        channel.sendall((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
        status, said, body, raw = 0, {}, b"", b""
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                raise AssertionError((method, path, sent, raw)) from error
            if event is h11.NEED_DATA:
                piece = channel.recv(65536)
                raw += piece
                connection.receive_data(piece)
            elif isinstance(event, h11.Response):
                status = event.status_code
                said = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert channel.recv(1) == b"", "more than the answer"
                return Answer(status, said, body)


def check(world: World, method: str, path: str, answer: Answer) -> None:
    assert answer.status < 500, (answer, world.log.read_text()[-4000:])
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        if method != "HEAD":
            problem = json.loads(answer.body)
            assert problem["status"] == answer.status
            assert problem["title"]
            assert problem["detail"]
    if answer.status in (204, 304) or method == "HEAD":
        assert answer.body == b""
    elif "content-length" in answer.headers:
        assert len(answer.body) == int(answer.headers["content-length"])
    if 300 <= answer.status < 400 and answer.status != 304:
        assert answer.headers["location"].startswith("/simple/")
        assert not answer.headers["location"].startswith("//")


FUZZED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZED
@given(methods, paths, headers)
@example("GET", "/simple/%ff/", {"Authorization": AUTH})
@example("GET", "//simple//webapp/", {"Authorization": AUTH})
@example("GET", "/simple/webapp/?a=%ff", {"Authorization": AUTH, "Accept": b""})
def test_anything(world: World, method: str, path: str, sent: dict[str, bytes]) -> None:
    check(world, method, path, ask(world, method, path, sent))


@FUZZED
@given(st.sampled_from(["GET", "HEAD"]), st.sampled_from(["", ".metadata"]), headers)
def test_a_file(world: World, method: str, suffix: str, sent: dict[str, bytes]) -> None:
    """What is sent of it is a part of it, at the place that is said."""
    [package] = world.upstream.projects["webapp"]
    assert package.metadata is not None
    whole = package.metadata if suffix else package.data
    path = f"/files/webapp/{package.sha256}/{package.filename}{suffix}"
    answer = ask(world, method, path, sent)
    check(world, method, path, answer)
    if answer.status == 200 and method == "GET":
        assert answer.body == whole
    if answer.status == 206:
        place, _, size = answer.headers["content-range"].removeprefix("bytes ").partition("/")
        first, _, last = place.partition("-")
        assert int(size) == len(whole)
        if method == "GET":
            assert answer.body == whole[int(first) : int(last) + 1]


@FUZZED
@given(st.sampled_from(["GET", "HEAD"]), headers)
def test_a_page(world: World, method: str, sent: dict[str, bytes]) -> None:
    answer = ask(world, method, "/simple/strings/", sent)
    check(world, method, "/simple/strings/", answer)
    assert answer.status in (200, 304, 401, 406)
    if answer.status == 200:
        assert answer.headers["content-type"].partition(";")[0] in {kind.decode() for kind in TYPES}
        assert {"etag", "vary"} <= answer.headers.keys()
