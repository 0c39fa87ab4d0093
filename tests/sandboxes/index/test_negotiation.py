import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index.negotiation import Form, choose

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
