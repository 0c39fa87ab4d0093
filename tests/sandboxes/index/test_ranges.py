import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index.ranges import Span, UnsatisfiableError, span_of


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-5", Span(2, 6)),
        ("bytes=5-", Span(5, 10)),
        ("bytes=5-99", Span(5, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-99", Span(0, 10)),
        (" Bytes = 1 - 2 ", Span(1, 3)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-\u0662", None),
    ],
)
def test_spans_of_ten_bytes(header: str | None, span: Span | None) -> None:
    assert span_of(header, 10) == span


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)]
)
def test_beyond_the_end(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableError):
        span_of(header, size)


@given(st.text() | st.from_regex(r"bytes=[0-9]*-[0-9]*", fullmatch=True), st.integers(0, 1000))
def test_a_span_is_a_part_of_the_file(header: str, size: int) -> None:
    try:
        span = span_of(header, size)
    except UnsatisfiableError:
        return
    assert span is None or 0 <= span.start < span.stop <= size
