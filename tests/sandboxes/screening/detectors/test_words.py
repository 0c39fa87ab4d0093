"""Words that are looked for in one pass are those that a plain search finds."""

from hypothesis import given
from hypothesis import strategies as st

from sandboxes.screening.detectors.words import Words

LISTED = (b"exec(", b".ssh", b"a/b", b"$x\\", b"\xd0\xb5xec", b"login data", b"A+", b"-rf")
PLAIN = Words(LISTED)
ANY_CASE = Words(LISTED, any_case=True)
PATTERNS = Words((b"exec",), patterns={"run": r"(exec|eval)\s*\(", "turning": r"\xe2\x80[\xaa-\xae]"})
CONTENTS = st.lists(
    st.sampled_from([*LISTED, b"EXEC(", b"a", b"\n", b"e", b"\0"]) | st.binary(max_size=6)
).map(b"".join)


@given(CONTENTS)
def test_words_are_those_of_a_plain_search(content: bytes) -> None:
    assert PLAIN.within(content) == {each for each in LISTED if each in content}


@given(CONTENTS)
def test_capitals_do_not_matter_where_they_are_told_not_to(content: bytes) -> None:
    assert ANY_CASE.within(content) == {each for each in LISTED if each.lower() in content.lower()}


def test_patterns_are_told_by_their_names() -> None:
    assert PATTERNS.within(b"eval (x)") == {b"run"}
    assert PATTERNS.within("\u202e exec".encode()) == {b"turning", b"exec"}
    assert PATTERNS.within(b"evaluated") == frozenset()
