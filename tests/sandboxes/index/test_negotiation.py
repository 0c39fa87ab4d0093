import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index.negotiation import Coding, Form, choose, coding_for

JSON, HTML_V1, HTML = Form.JSON, Form.HTML_V1, Form.HTML


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, HTML),
        ("", HTML),
        ("*/*", HTML),
        ("text/*", HTML),
        ("application/*", JSON),
        ("text/html", HTML),
        (f"{JSON}", JSON),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("application/vnd.pypi.simple.latest+html;q=0.3", HTML_V1),
        # pip and uv
        (f"{JSON}, {HTML_V1}; q=0.1, text/html; q=0.01", JSON),
        (f"{JSON}, {HTML_V1};q=0.2, text/html;q=0.01", JSON),
        (f"{JSON};q=0.1, {HTML_V1};q=0.2, text/html;q=0.3", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        (f"{JSON}, text/html", JSON),
        (f"text/html;q=0, {JSON};q=0, */*", HTML_V1),
        ("*/*;q=0.1, text/html;q=0", JSON),
        (f"{JSON.upper()};Q=1.0", JSON),
        (f"{JSON};q=0", None),
        (f"{JSON};q=2", None),
        (f"{JSON};q=much", None),
        ("application/vnd.pypi.simple.v2+json", None),
        ("application/json", None),
        ("image/png", None),
    ],
)
def test_choices(accept: str | None, form: Form | None) -> None:
    assert choose(accept) is form


@given(st.text())
def test_any_header_gives_an_answer(accept: str) -> None:
    choose(accept)


@given(st.permutations([f"{JSON};q=0.5", "text/html;q=0.4", "*/*;q=0.1"]))
def test_order_does_not_matter(parts: list[str]) -> None:
    assert choose(",".join(parts)) is JSON


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, zstd", "zstd"),
        ("gzip,deflate,br,zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0.5, gzip;q=0.6", "gzip"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, zstd;q=0.001", "zstd"),
        ("gzip;q=0.000", "identity"),
        ("identity;q=0", "identity"),
        ("*", "gzip"),
        ("*;q=0", "identity"),
        ("gzip;q=0, *", "identity"),
        ("GZIP;Q=0.3", "gzip"),
        ("br", "identity"),
        ("gzip;q=much", "identity"),
    ],
)
def test_codings(accept_encoding: str | None, coding: str) -> None:
    assert coding_for(accept_encoding) == coding


@given(st.text())
def test_any_header_gives_a_coding(accept_encoding: str) -> None:
    assert coding_for(accept_encoding) in Coding
