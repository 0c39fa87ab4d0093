"""What is read in a quick way is read as in the thorough one; and documents come back as they were stored."""

from datetime import datetime
from urllib.parse import quote, urljoin, urlsplit

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from sandboxes.index.names import release_of
from sandboxes.index.packing import packed, unpacked
from sandboxes.index.page import File, Page, Raw, checked, clean, utc
from tests.sandboxes.index.test_upstream_pages import A, entry, from_json

BASES = st.sampled_from(
    ("https://index.example/simple/demo/", "http://127.0.0.1:8080/simple/demo/", "http://u:p@host/a/b")
)
PIECES = ("/", "//", ".", "..", "a", "B", "%2F", "%zz", ":", "@", "?", "#", "é", " ", "\n", "host", "https://",
          "http://", "HTTPS://", "8080", "=", "[", "]", "~", "+", ";", "'", "\\", "\u212a")  # fmt: skip
URLS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
WHEELS = st.lists(
    st.sampled_from(
        ("demo", "Demo", "de_mo", "de__mo", "", "1.0", "1!2.0", "2.0+a.1", "1.0.POST1", "x", "1", "1b", "py3",
         "py2.py3", "none", "any", "any.whl", "cp313.", ".", "manylinux_2_17_x86_64.whl", "-", "é")
    ),
    max_size=7,
)  # fmt: skip


def thoroughly(base: str, url: str) -> str:
    """By the standard library alone."""
    try:
        parts = urlsplit(urljoin(base, url))
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    if not usable or not urljoin(base, url).isprintable():
        return ""
    return quote(parts._replace(fragment="").geturl(), safe="%/:=&?~+!$,;'@()*[]")


@given(BASES, URLS)
@example("https://index.example/simple/demo/", "https://files.example/a/b/demo-1.0-py3-none-any.whl")
@example("http://127.0.0.1:8080/simple/demo/", "/packages/demo-1.0-py3-none-any.whl")
@example("https://index.example/simple/demo/", "/packages/../demo-1.0-py3-none-any.whl")
@example("https://index.example/simple/demo/", "//other.example/demo-1.0-py3-none-any.whl")
def test_urls(base: str, url: str) -> None:
    file = checked("demo", Raw("demo-1.0-py3-none-any.whl", url, A), base)
    assert (file.url if file else "") == thoroughly(base, url)


@given(WHEELS)
@example(["demo", "1.0", "py3", "none", "any.whl"])
def test_wheels(parts: list[str]) -> None:
    filename = "-".join(parts)
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        assert not filename.endswith(".whl") or release_of("demo", filename) is None
    else:
        assert release_of("demo", filename) == (str(version) if name == "demo" else None)


@given(st.datetimes(), st.booleans())
def test_times(moment: datetime, whole: bool) -> None:
    moment = moment.replace(microsecond=0) if whole else moment
    for timespec in ("auto", "microseconds"):
        for zone in ("Z", "+00:00"):
            assert utc(moment.isoformat(timespec=timespec) + zone) == moment.isoformat() + "Z"


@given(st.text())
def test_clean_text_can_be_shown(text: str) -> None:
    said = clean(text)
    assert said.isprintable()
    assert said == said.strip()
    said.encode()
    assert not text.isprintable() or said == text.strip()


def test_one_reason_that_is_no_text_hides_no_project() -> None:
    page = from_json(entry(yanked="lone \ud800 surrogate"), entry(filename="demo-2.0-py3-none-any.whl"))
    assert [file.yanked for file in page.files] == ["lone ? surrogate", False]


FILES = st.builds(
    File, st.text(), st.text(), st.text(), st.text(), st.none() | st.integers(0, 2**63 - 1), st.none() | st.text(),
    yanked=st.booleans() | st.text(), extracted=st.booleans(),
)  # fmt: skip


@given(st.builds(Page, st.text(), st.lists(st.text()).map(tuple), st.lists(FILES).map(tuple)))
def test_a_page_comes_back_as_it_was_stored(page: Page) -> None:
    assert Page.load(page.document()) == page
    assert Page.load(page.document()).document() == page.document()


def test_a_page_that_was_stored_before_documents_were_packed_can_be_read() -> None:
    page = Page("demo", ("1.0",), (File("demo-1.0-py3-none-any.whl", "1.0", A, "https://files.example/x"),))
    assert Page.load(msgspec.json.encode(page)) == page


@given(st.binary())
def test_packing(document: bytes) -> None:
    assert unpacked(packed(document)) == document
