import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version

from sandboxes.index.names import canonical, is_filename, is_project, normalise, release_of

PROJECTS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)


@given(PROJECTS)
def test_a_normalised_name_is_its_own_and_a_valid_name(name: str) -> None:
    assert is_project(name)
    assert is_project(normalise(name))
    assert normalise(normalise(name)) == normalise(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", normalise(name))


@given(PROJECTS, st.sampled_from("-_."))
def test_separators_and_case_do_not_matter(name: str, separator: str) -> None:
    assert normalise(re.sub(r"[-_.]+", separator, name).upper()) == normalise(name)


@given(st.text())
def test_no_text_is_a_name_that_could_leave_its_folder(text: str) -> None:
    for check in (is_project, is_filename):
        assert not check(f"../{text}")
        assert not check(f"{text}/x")
        assert not check(f"{text}\n")
        assert not check(f".{text}")


@pytest.mark.parametrize(
    ("project", "filename", "version"),
    [
        ("demo", "demo-1.0-py3-none-any.whl", "1.0"),
        ("demo", "Demo-1.0.0RC1-1-py3-none-any.whl", "1.0.0rc1"),
        ("demo", "demo-2!1.0+local.1-py3-none-any.whl", "2!1.0+local.1"),
        ("demo", "demo-1.0.tar.gz", "1.0"),
        ("a-b", "a-b-1.zip", "1"),
        ("a-b", "A.B-1.zip", "1"),
        ("a", "a-b-1.zip", None),
        ("demo", "other-1.0.tar.gz", None),
        ("demo", "other-1.0-py3-none-any.whl", None),
        ("demo", "demo-1.0-py3.6-linux-x86_64.egg", None),
        ("demo", "demo-1.0.exe", None),
        ("demo", "demo-next.tar.gz", None),
        ("demo", "demo.whl", None),
        ("demo", f"demo-1-{'a.' * 20}a-{'b.' * 20}b-{'c.' * 20}c.whl", None),
    ],
)
def test_releases(project: str, filename: str, version: str | None) -> None:
    assert release_of(project, filename) == version


def test_metadata_of_a_file_is_no_file() -> None:
    assert is_filename("demo-1.0-py3-none-any.whl")
    assert not is_filename("demo-1.0-py3-none-any.whl.metadata")


VERSIONS = st.from_regex(
    r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}((a|b|rc|\.post|\.dev|c|-|\+)?[0-9]{1,2})?", fullmatch=True
)


@given(VERSIONS | st.text(max_size=8))
def test_a_version_is_as_pep_440_writes_it(text: str) -> None:
    try:
        assert canonical(text) == str(Version(text))
    except InvalidVersion:
        assert canonical(text) == text
