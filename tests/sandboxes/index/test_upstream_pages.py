"""What is taken over from an upstream's page, and what is not."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandboxes.index import page as page_module
from sandboxes.index.errors import UpstreamError
from sandboxes.index.negotiation import Form
from sandboxes.index.page import Page, utc
from sandboxes.index.render import render_page
from sandboxes.index.upstream_html import parse_html
from sandboxes.index.upstream_json import parse_json

BASE = "https://index.example/simple/demo/"
A, B = "a" * 64, "b" * 64
WHEEL = "demo-1.0-py3-none-any.whl"


def entry(**changes: Any) -> dict[str, Any]:
    """One file of a JSON page; underscores in names stand for dashes."""
    file: dict[str, Any] = {"filename": WHEEL, "url": f"../../f/{WHEEL}", "hashes": {"sha256": A}}
    return file | {name.replace("_", "-"): value for name, value in changes.items()}


def from_json(*files: Any, **page: Any) -> Page:
    document = {"meta": {"api-version": "1.1"}, "name": "demo", "files": files} | page
    return parse_json("demo", json.dumps(document).encode(), BASE)


def from_html(body: str) -> Page:
    return parse_html("demo", body.encode(), BASE)


def test_json_file() -> None:
    [file] = from_json(
        entry(
            size=5,
            upload_time="2026-01-02T03:04:05+01:00",
            requires_python=">=3.9",
            yanked="broken",
            core_metadata={"sha256": B},
        )
    ).files
    assert file.url == f"https://index.example/f/{WHEEL}"
    assert (file.version, file.sha256, file.size) == ("1.0", A, 5)
    assert (file.upload_time, file.requires_python) == ("2026-01-02T02:04:05Z", ">=3.9")
    assert (file.yanked, file.metadata_sha256) == ("broken", B)


@pytest.mark.parametrize(
    "bad",
    [
        entry(hashes={}),
        entry(hashes={"md5": "x"}),
        entry(hashes={"sha256": "short"}),
        entry(hashes={"sha256": None}),
        entry(filename="../evil.whl"),
        entry(filename="evil.whl.metadata"),
        entry(filename="other-1.0-py3-none-any.whl"),
        entry(filename="demo-extra-1.0.tar.gz"),
        entry(filename="demo-1.0.egg"),
        entry(url="file:///etc/passwd"),
        entry(url="ftp://index.example/x"),
        entry(url="http://["),
        entry(url="http://index.example:99999/x"),
        entry(url=7),
        "no mapping",
        None,
    ],
)
def test_files_that_could_not_be_verified_are_not_listed(bad: Any) -> None:
    assert from_json(bad).files == ()


@pytest.mark.parametrize(
    ("given_value", "yanked"),
    [(False, False), (None, False), (True, True), ("why", "why"), ("", True), (0.0, True)],
)
def test_yanked_is_never_lost(given_value: object, yanked: bool | str) -> None:
    [file] = from_json(entry(yanked=given_value)).files
    assert file.yanked == yanked


@pytest.mark.parametrize("value", [True, False, None, {"sha256": "short"}, {"md5": "x"}, "sha256"])
def test_metadata_that_could_not_be_verified_is_not_advertised(value: object) -> None:
    assert from_json(entry(core_metadata=value)).files[0].metadata_sha256 == ""


def test_the_old_metadata_key_counts_after_the_new_one() -> None:
    old = entry(data_dist_info_metadata={"sha256": A})
    assert from_json(old).files[0].metadata_sha256 == A
    assert from_json(old | {"core-metadata": {"sha256": B}}).files[0].metadata_sha256 == B


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02T03:04:05", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        (1767323045, None),
        (None, None),
    ],
)
def test_upload_times(text: object, expected: str | None) -> None:
    assert utc(text) == expected


def test_versions_are_completed_from_the_files() -> None:
    page = from_json(entry(), entry(filename="demo-2.0.tar.gz", url="x"), versions=["1.0.0", "0.9"])
    assert page.versions == ("1.0.0", "0.9", "1.0", "2.0")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"files": {}}',
        b'{"files": []}',
        b'{"meta": {"api-version": "2.0"}, "files": []}',
        b"\xff",
        b"[" * 99999,
    ],
)
def test_a_page_that_cannot_be_read_is_an_upstream_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        parse_json("demo", body, BASE)


def test_html_page() -> None:
    page = from_html(
        f'<base href="https://cdn.example/x/"><a href="../{WHEEL}#sha256={A}" data-requires-python="&gt;=3.9" '
        f'data-yanked="a &quot;b&quot;" data-core-metadata="sha256={B}">shown</a>'
        f'<a href="demo-2%2B1.zip#sha256={B}" data-yanked data-dist-info-metadata="true"></a>'
        '<a href="demo-3.zip#md5=1"></a><a href="demo-4.zip"></a><a name="x"></a>'
    )
    first, second = page.files
    assert (first.filename, first.url) == (WHEEL, f"https://cdn.example/{WHEEL}")
    assert (first.requires_python, first.yanked, first.metadata_sha256) == (">=3.9", 'a "b"', B)
    assert (second.filename, second.yanked, second.metadata_sha256) == ("demo-2+1.zip", True, "")
    assert second.url == "https://cdn.example/x/demo-2%2B1.zip"


def test_another_major_version_of_html_is_not_read() -> None:
    with pytest.raises(UpstreamError):
        from_html('<meta name="pypi:repository-version" content="2.0">')


@pytest.mark.parametrize(
    ("size", "kept"),
    [(0, 0), (2**63 - 1, 2**63 - 1), (2**63, None), (10**30, None), (-1, None), (True, None)],
)
def test_sizes_that_no_file_has_are_not_taken_over(size: object, kept: int | None) -> None:
    [file] = from_json(entry(size=size)).files
    assert file.size == kept


def test_what_is_left_out_is_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "sandboxes.index.page"):
        page = from_json(entry(), entry(filename="other-1.0.tar.gz"), "no mapping")
    assert len(page.files) == 1
    assert "page of demo: 2 of 3 files left out" in caplog.text


def test_a_page_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_FILES", 2)
    assert len(from_json(entry(), entry(filename="demo-2.0.tar.gz"), versions=["1", "2"]).files) == 2
    with pytest.raises(UpstreamError, match="lists more than 2"):
        from_json(entry(), entry(), entry())
    with pytest.raises(UpstreamError, match="lists more than 2"):
        from_json(entry(), versions=["1", "2", "3"])
    with pytest.raises(UpstreamError, match="lists more than 2"):
        from_html(f'<a href="{WHEEL}"></a>' * 3)


@pytest.mark.parametrize(
    "body", ["<![>", "<a " + "<!--" * 10_000, "<![CDATA[ > " * 10_000, "<a x='" + " " * 10_000]
)
def test_html_that_is_made_to_break_or_to_keep_its_reader_busy_is_refused(body: str) -> None:
    with pytest.raises(UpstreamError, match="not HTML that can be read"):
        from_html(body)


@pytest.mark.parametrize("encoding", ["punycode", "idna", "zlib", "no-such", "UTF-8", "latin-1"])
def test_any_encoding_is_survived(encoding: str) -> None:
    page = parse_html("demo", f'<a href="{WHEEL}#sha256={A}"></a>'.encode(), BASE, encoding)
    assert len(page.files) == 1


@given(st.binary() | st.text(alphabet="<>/a hrefbs='\"#&;[]:!-").map(str.encode))
def test_any_html_is_read_or_refused(body: bytes) -> None:
    with suppress(UpstreamError):
        parse_html("demo", body, BASE)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ENTRIES = st.fixed_dictionaries(
    {"filename": st.just(WHEEL) | JSON_VALUES, "url": st.just("x") | st.text() | JSON_VALUES},
    optional=dict.fromkeys(
        ("size", "upload-time", "requires-python", "yanked", "core-metadata", "dist-info-metadata"),
        JSON_VALUES,
    ),
).map(lambda entry: entry | {"hashes": {"sha256": A}})


@given(st.lists(ENTRIES, max_size=3))
def test_whatever_keys_of_a_file_say_the_page_can_be_stored_and_shown(files: list[Any]) -> None:
    page = from_json(*files)
    assert Page.load(page.document()) == page
    names = [file.filename for file in page.files]
    assert [file["filename"] for file in json.loads(render_page(page, Form.JSON))["files"]] == names
    assert [text for text, _ in anchors(render_page(page, Form.HTML))] == names


# What upstreams really say: each key is there or not, and has one of the kinds that it may have.
HERE = "https://petridish.example"
WORDS = (
    st.text(st.characters(exclude_categories=("C", "Z", "Ps")) | st.sampled_from(" <>&\"'"), max_size=20)
    .map(str.strip)
    .filter(bool)
)
SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)
TIMES = st.builds(
    lambda since, hours: (datetime(2000, 1, 1, tzinfo=UTC) + since).astimezone(
        timezone(timedelta(hours=hours))
    ),
    st.timedeltas(timedelta(), timedelta(days=36_500)),
    st.integers(-12, 12),
)
SAID = st.fixed_dictionaries(
    {"hashes": st.fixed_dictionaries({"sha256": SHA256})},
    optional={
        "requires-python": st.sampled_from([">=3.9", ">3.8,<4", "~=3.11"]) | WORDS,
        "yanked": st.booleans() | WORDS,
        "core-metadata": st.booleans() | st.fixed_dictionaries({"sha256": SHA256}),
        "size": st.integers(0, 2**63 - 1),
        "upload-time": TIMES.map(datetime.isoformat),
        "provenance": st.just("https://files.example/demo.provenance"),
    },
)
NAMES = st.builds(
    "demo-{}.{}{}".format,
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(["-py3-none-any.whl", ".tar.gz"]),
)
FILES = st.lists(st.tuples(NAMES, SAID), max_size=5, unique_by=lambda each: each[0]).map(
    lambda drawn: [{"filename": name, "url": f"/f/{name}"} | said for name, said in drawn]
)
FULL = entry(
    requires_python=">=3.9",
    yanked="broken",
    core_metadata={"sha256": B},
    size=5,
    upload_time="2026-01-02T03:04:05+01:00",
    provenance="https://files.example/demo.provenance",
)


def metadata_of(file: dict[str, Any]) -> dict[str, str] | None:
    said = file.get("core-metadata")
    return said if isinstance(said, dict) else None


def as_json(file: dict[str, Any]) -> dict[str, Any]:
    """What a JSON page has of a file, from what the upstream said of it; the upload time aside."""
    path = f"demo/{file['hashes']['sha256']}/{file['filename']}"
    said = {
        "filename": file["filename"],
        "url": f"../../files/{path}",
        "hashes": file["hashes"],
        "yanked": file.get("yanked", False),
        "requires-python": file.get("requires-python"),
        "core-metadata": metadata_of(file),
        "data-dist-info-metadata": metadata_of(file),
        "size": file.get("size"),
        "provenance": f"{HERE}/provenance/{path}" if "provenance" in file else None,
    }
    return {key: value for key, value in said.items() if value is not None}


def as_html(file: dict[str, Any]) -> dict[str, str | None]:
    """The same as the attributes of a link: HTML knows neither size nor upload time."""
    said = as_json(file)
    yanked, metadata = said["yanked"], metadata_of(file)
    named = f"sha256={metadata['sha256']}" if metadata else None
    attributes = {
        "href": f"{said['url']}#sha256={said['hashes']['sha256']}",
        "data-requires-python": said.get("requires-python"),
        "data-yanked": "" if yanked is True else yanked or None,
        "data-core-metadata": named,
        "data-dist-info-metadata": named,
        "data-provenance": said.get("provenance"),
    }
    return {key: value for key, value in attributes.items() if value is not None}


def anchors(html: bytes) -> list[tuple[str, dict[str, str | None]]]:
    """The text and the attributes of each link, as Python's own parser reads them."""
    reader = _Anchors()
    reader.feed(html.decode())
    reader.close()
    return reader.found


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(("", dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and data != "\n":
            text, attributes = self.found[-1]
            self.found[-1] = (text + data, attributes)


@given(FILES)
@example([FULL])
def test_any_json_page_can_be_stored_and_shown_in_both_forms_alike(files: list[dict[str, Any]]) -> None:
    page = from_json(*files)
    assert Page.load(page.document()) == page
    shown = json.loads(render_page(page, Form.JSON, None, HERE))["files"]
    times = [file.pop("upload-time", None) for file in shown]
    assert shown == [as_json(file) for file in files]
    for said, time in zip(files, times, strict=True):
        assert (time is None) is ("upload-time" not in said)
        assert time is None or time.endswith("Z")
        assert time is None or datetime.fromisoformat(time) == datetime.fromisoformat(said["upload-time"])
    html = render_page(page, Form.HTML, None, HERE)
    assert anchors(html) == [(file["filename"], as_html(file)) for file in files]
    for ours, theirs in zip(page.files, parse_html("demo", html, BASE).files, strict=True):
        assert (ours.filename, ours.version, ours.sha256) == (theirs.filename, theirs.version, theirs.sha256)
        assert (ours.yanked, ours.requires_python) == (theirs.yanked, theirs.requires_python)
        assert ours.metadata_sha256 == theirs.metadata_sha256


def test_requires_python_is_taken_over_and_shown_in_both_forms() -> None:
    for page in (
        from_json(entry(requires_python=">=3.9, <4")),
        from_html(f'<a href="{WHEEL}#sha256={A}" data-requires-python="&gt;=3.9, &lt;4"></a>'),
    ):
        [shown] = json.loads(render_page(page, Form.JSON))["files"]
        assert shown["requires-python"] == ">=3.9, <4"
        assert b' data-requires-python="&gt;=3.9, &lt;4"' in render_page(page, Form.HTML)
    plain = from_json(entry())
    assert "requires-python" not in json.loads(render_page(plain, Form.JSON))["files"][0]
    assert b"data-requires-python" not in render_page(plain, Form.HTML)


def test_a_link_has_all_that_is_known_of_its_file() -> None:
    """To the letter: what old clients read with expressions of their own."""
    page = from_json(FULL | {"yanked": 'it says "no" & <more>'})
    path = f"demo/{A}/{WHEEL}"
    link = (
        f'<a href="../../files/{path}#sha256={A}" data-requires-python="&gt;=3.9" '
        'data-yanked="it says &quot;no&quot; &amp; &lt;more&gt;" '
        f'data-core-metadata="sha256={B}" data-dist-info-metadata="sha256={B}" '
        f'data-provenance="{HERE}/provenance/{path}">{WHEEL}</a>'
    )
    lines = render_page(page, Form.HTML, None, HERE).decode().splitlines()
    assert [line for line in lines if line.startswith("<a ")] == [f"{link}<br>"]


def test_what_is_shown_is_escaped() -> None:
    evil = '"><script>'
    html = render_page(from_json(entry(yanked=evil, requires_python=evil)), Form.HTML).decode()
    assert "<script>" not in html
