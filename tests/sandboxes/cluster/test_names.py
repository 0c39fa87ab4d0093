"""Names are valid, readable, and different whenever their sandboxes are."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.cluster.names import sandbox_name

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")  # RFC 1123, 2.1


@pytest.mark.parametrize(
    ("owner", "profile", "starts"),
    [
        ("alice", "python", "sbx-alice-python-"),
        ("Alice.Smith@example.com", "data-science", "sbx-alice-smith-example-com-data-science-"),
        ("Zoë Ångström", "python", "sbx-zoe-angstrom-python-"),
        ("", "", "sbx-someone-sandbox-"),
        ("алиса", "python", "sbx-someone-python-"),
        ("--bob--", "-gpu-", "sbx-bob-gpu-"),
        ("o" * 300, "p" * 300, f"sbx-{'o' * 24}-{'p' * 24}-"),
        ("a-very-long-owner-name--x-and-more", "python", "sbx-a-very-long-owner-name-x-python-"),
    ],
)
def test_names_are_readable(owner: str, profile: str, starts: str) -> None:
    name = sandbox_name(owner, profile, 1)
    assert name.startswith(starts)
    assert re.fullmatch(r"[0-9a-z]{6}", name.removeprefix(starts))


def test_a_name_never_changes() -> None:
    assert sandbox_name("alice", "python", 1) == "sbx-alice-python-m39il7"


def test_installations_that_share_a_cluster_do_not_meet() -> None:
    names = {sandbox_name("alice", "python", 1, installation_id=each) for each in ("", "a", "b")}
    assert len(names) == 3


@given(st.text(), st.text(), st.integers(min_value=0))
def test_every_name_is_a_dns_label(owner: str, profile: str, number: int) -> None:
    assert LABEL.match(sandbox_name(owner, profile, number))


@given(st.text(min_size=1), st.integers(min_value=0))
def test_what_the_slug_loses_the_hash_keeps(owner: str, number: int) -> None:
    others = {sandbox_name(owner + "é", "python", number), sandbox_name(owner, "python", number + 1)}
    assert sandbox_name(owner, "python", number) not in others
