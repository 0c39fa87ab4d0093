"""The environment, and which upstream pip's own settings name."""

import os
from pathlib import Path

import pytest
from pip._internal.models.index import PyPI

from sandboxes.errors import InvalidInputError
from sandboxes.index import config
from sandboxes.index.pip_settings import configured_index

GOOD = {"DATABASE_URL": "postgresql://localhost/x", "INDEX_UPSTREAM": "https://index.example/simple"}


def read(**changes: str) -> config.Config:
    return config.read(GOOD | changes, pip_index=lambda: "https://pip.example/simple")


def test_defaults() -> None:
    settings = read()
    assert (settings.bind, settings.port) == ("127.0.0.1", 8081)
    assert settings.upstream == config.Source("https://index.example/simple/")
    assert read(INDEX_UPSTREAM="").upstream.url == "https://pip.example/simple/"
    assert read(DATA_DIR="/x").folder == Path("/x/index")


def test_credentials_of_the_upstream_are_taken_out_and_never_shown() -> None:
    upstream = read(INDEX_UPSTREAM="https://me:s%40cret@index.example:8443/simple/").upstream
    assert upstream.url == "https://index.example:8443/simple/"
    assert upstream.authorization == "Basic bWU6c0BjcmV0"
    assert "Basic" not in repr(upstream)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://x"),
        ("INDEX_PORT", "0"),
        ("INDEX_PORT", "http"),
        ("INDEX_PORT", "65536"),
        ("INDEX_UPSTREAM", "file:///srv/simple"),
        ("INDEX_FILE_ORIGINS", "files.example"),
        ("INDEX_FILE_ORIGINS", "https://me:secret@files.example"),
        ("INDEX_FILE_ORIGINS", "https://*"),
        ("INDEX_UPSTREAM", "https://"),
        ("INDEX_UPSTREAM", "https://secret@["),
    ],
)
def test_a_bad_value_is_named_in_one_line_without_secrets(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=name) as caught:
        read(**{name: value})
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_files_may_be_at_other_origins_that_are_named() -> None:
    assert read().upstream.file_origins == ()
    named = read(INDEX_FILE_ORIGINS="https://files.example, http://[::1]:8080/").upstream.file_origins
    assert named == ("https://files.example", "http://[::1]:8080/")


@pytest.fixture
def pip_environment(tmp_path: Path) -> dict[str, str]:
    """No settings of this machine: HOME and the configuration file are the test's own."""
    kept = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "XDG_"))
    }
    return kept | {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}


def test_pip_without_an_index_means_its_own_default(pip_environment: dict[str, str]) -> None:
    assert configured_index(pip_environment | {"PIP_CONFIG_FILE": os.devnull}) == PyPI.simple_url


def test_pip_settings_in_pips_own_order(pip_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip" / "pip.conf").write_text("[global]\nindex-url = https://user.example/simple\n")
    (tmp_path / "pip.conf").write_text("[global]\nindex_url = https://named.example/simple\n")
    assert configured_index(pip_environment) == "https://named.example/simple"
    (tmp_path / "pip.conf").write_text("[install]\nindex-url = https://install.example/simple\n")
    assert configured_index(pip_environment) == "https://install.example/simple"
    with_variable = pip_environment | {"PIP_INDEX_URL": "https://variable.example/simple"}
    assert configured_index(with_variable) == "https://variable.example/simple"


def test_unreadable_pip_settings_are_said(pip_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("not = a section\n")
    with pytest.raises(InvalidInputError, match="set INDEX_UPSTREAM"):
        configured_index(pip_environment)
