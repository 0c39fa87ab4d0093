"""What a path below /npm/ means, and which names and versions there are."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index.npm.integrity import digest_of, integrity_of
from sandboxes.index.npm.names import Asked, asked, filename_of, read, version_of

HASH = hashlib.sha512(b"x").digest()
SRI = f"sha512-{base64.b64encode(HASH).decode()}"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("demo", Asked("demo")),
        ("JSONStream", Asked("JSONStream")),
        ("@acme/tool", Asked("@acme/tool")),
        ("demo/-/demo-1.0.0-beta.1.tgz", Asked("demo", "demo-1.0.0-beta.1.tgz", "1.0.0-beta.1")),
        ("@acme/tool/-/tool-1.0.0.tgz", Asked("@acme/tool", "tool-1.0.0.tgz", "1.0.0")),
        ("@acme/tool/-/@acme/tool-1.0.0.tgz", None),
        ("demo/-/demo-1.0.tgz", None),
        ("demo/-/../demo-1.0.0.tgz", None),
        ("-/all", None),
        ("-", None),
        (".demo", None),
        ("@acme", None),
        ("@acme/", None),
        ("@acme/../x", None),
        ("a" * 215, None),
        ("dem\n", None),
        ("", None),
    ],
)
def test_paths(path: str, meant: Asked | None) -> None:
    assert asked(path) == meant


@pytest.mark.parametrize(
    "version",
    [
        "1",
        "1.0",
        "v1.0.0",
        "1.0.0+build",
        "01.0.0",
        "1.0.0-01",
        " 1.0.0",
        "1.0.0\n",
        "١.0.0",
        "9007199254740992.0.0",
        "1.0.0-9007199254740992",
        f"1.0.0-{'a' * 100}",
        "",
    ],
)
def test_what_npm_could_not_read_is_no_version(version: str) -> None:
    assert read(version) is None


@given(st.text(max_size=50), st.text(max_size=120))
def test_a_tarballs_name_is_of_one_version(name: str, filename: str) -> None:
    version = version_of(name, filename)
    assert not version or filename_of(name, version) == filename


def test_integrity() -> None:
    assert digest_of(SRI) == HASH.hex()
    assert digest_of(f"sha1-AAAA {SRI}?opt") == HASH.hex()
    assert integrity_of(HASH.hex()) == SRI
    sha256 = f"sha256-{base64.b64encode(HASH[:32]).decode()}"
    assert digest_of(f"{sha256} {SRI}") == HASH.hex()
    assert integrity_of(digest_of(sha256)) == sha256


@pytest.mark.parametrize(
    "integrity",
    [
        None,
        3,
        "",
        "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        "sha512-",
        "sha512-AAAA",
        f"{SRI[:-3]}!!!",
        f"sha512-é{SRI[8:]}",
        f"{SRI} sha512-{base64.b64encode(bytes(64)).decode()}",
    ],
)
def test_what_proves_nothing_is_no_digest(integrity: object) -> None:
    assert digest_of(integrity) == ""


@given(st.text())
def test_any_integrity_is_read_or_left(text: str) -> None:
    assert len(digest_of(text)) in (0, 64, 96, 128)
