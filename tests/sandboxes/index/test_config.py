"""The environment, and which upstream pip's own settings name."""

import os
from pathlib import Path

import pytest
from pip._internal.models.index import PyPI

from sandboxes.errors import InvalidInputError
from sandboxes.index import config
from sandboxes.index.npm.settings import configured_registry
from sandboxes.index.pip_settings import configured_index

GOOD = {"DATABASE_URL": "postgresql://localhost/x", "INDEX_UPSTREAM": "https://index.example/simple"}


def read(**changes: str) -> config.Config:
    return config.read(
        GOOD | changes,
        pip_index=lambda: "https://pip.example/simple",
        npm_registry=lambda: "https://npm.example/registry",
    )


def test_defaults() -> None:
    settings = read()
    assert (settings.bind, settings.port) == ("127.0.0.1", 8081)
    assert settings.sources == (config.Source("https://index.example/simple/"),)
    assert [source.url for source in read(INDEX_UPSTREAM="").sources] == ["https://pip.example/simple/"]
    assert (settings.url, read(INDEX_URL="https://index.example/").url) == ("", "https://index.example")
    assert read(DATA_DIR="/x").folder == Path("/x/index")


def test_credentials_of_the_upstream_are_taken_out_and_never_shown() -> None:
    [upstream] = read(INDEX_UPSTREAM="https://me:s%40cret@index.example:8443/simple/").sources
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
        ("INDEX_NPM_UPSTREAM", "file:///srv/npm"),
        ("INDEX_UPSTREAMS", "npm=https://packages.example/simple/"),
        ("INDEX_FILE_ORIGINS", "files.example"),
        ("INDEX_FILE_ORIGINS", "https://me:secret@files.example"),
        ("INDEX_FILE_ORIGINS", "https://*"),
        ("INDEX_FILE_ORIGINS", "https://files.example/a?b=c"),
        *(
            ("INDEX_FILE_HOSTS", text)
            for text in ("*", "a.*.example", "https://a.example", "a.example:80", "a..b")
        ),
        ("INDEX_UPSTREAM", "https://"),
        ("INDEX_UPSTREAM", "https://secret@["),
        ("INDEX_UPSTREAMS", "https://packages.example/simple/"),
        ("INDEX_UPSTREAMS", "default=https://packages.example/simple/"),
        ("INDEX_UPSTREAMS", "Ours=https://packages.example/simple/"),
        ("INDEX_UPSTREAMS", "ours=ftp://me:secret@packages.example/simple/"),
        ("INDEX_UPSTREAMS", "ours=https://packages.example/simple/ names="),
        ("INDEX_UPSTREAMS", "ours=https://packages.example/simple/ acme-*"),
        ("INDEX_UPSTREAMS", "ours=https://packages.example/simple/ names=acme>=2"),
        ("INDEX_UPSTREAMS", "a=https://a.example/; a=https://b.example/"),
        ("INDEX_UPSTREAM_AUTH", "secret"),
        ("INDEX_UPSTREAM_AUTH", "me:secret\n"),
        ("INDEX_UPSTREAM_CA", "/no/such/file"),
    ],
)
def test_a_bad_value_is_named_in_one_line_without_secrets(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=name) as caught:
        read(**{name: value})
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_files_may_be_at_other_origins_that_are_named() -> None:
    assert read().sources[0].file_origins == ()
    named = ("https://files.example", "http://[::1]:8080/", "https://files.example/user/+f/")
    assert read(INDEX_FILE_ORIGINS=", ".join(named)).sources[0].file_origins == named


def test_hosts_of_files_may_be_limited_for_all_upstreams() -> None:
    assert read().sources[0].file_hosts == ()
    limited = read(
        INDEX_FILE_HOSTS=" Files.example.org, *.example.net,",
        INDEX_UPSTREAMS="ours=https://packages.example/simple/",
    )
    assert limited.npm is not None
    for source in (*limited.sources, limited.npm):
        assert source.file_hosts == ("files.example.org", "*.example.net")


def test_named_upstreams_come_first_in_their_order() -> None:
    settings = read(
        INDEX_UPSTREAMS=" ours=https://me:secret@packages.example/simple names=Acme_*,corp-utils ;"
        " my-mirror=https://mirror.example/simple/;",
        INDEX_UPSTREAM_MY_MIRROR_AUTH="Bearer secret",
    )
    ours, mirror, default = settings.sources
    assert [source.name for source in settings.sources] == ["ours", "my-mirror", "default"]
    assert (ours.url, mirror.url) == ("https://packages.example/simple/", "https://mirror.example/simple/")
    assert [str(pattern) for pattern in ours.names] == ["acme-*", "corp-utils"]
    assert (mirror.names, default.names) == ((), ())
    assert (ours.authorization, mirror.authorization) == ("Basic bWU6c2VjcmV0", "Bearer secret")
    assert "secret" not in repr(settings)
    assert "bWU6c2VjcmV0" not in repr(settings)


def test_credentials_by_environment_go_before_those_in_the_url() -> None:
    [source] = read(
        INDEX_UPSTREAM="https://old:gone@index.example/simple/", INDEX_UPSTREAM_AUTH="me:secret"
    ).sources
    assert source.authorization == "Basic bWU6c2VjcmV0"


def test_none_is_no_default_upstream() -> None:
    assert read(INDEX_UPSTREAM="none").sources == ()
    only = read(INDEX_UPSTREAM="none", INDEX_UPSTREAMS="ours=https://packages.example/simple/").sources
    assert [source.name for source in only] == ["ours"]


def test_npms_upstream() -> None:
    npm = read(INDEX_NPM_UPSTREAM_AUTH="Bearer secret", INDEX_UPSTREAM_AUTH="me:other").npm
    assert npm == config.Source("https://npm.example/registry/", "Bearer secret", name="npm")
    named = read(INDEX_NPM_UPSTREAM="https://me:secret@registry.example").npm
    assert named == config.Source("https://registry.example/", "Basic bWU6c2VjcmV0", name="npm")
    assert read(INDEX_NPM_UPSTREAM="none").npm is None
    assert config.read(GOOD, npm_registry=lambda: "").npm is None


def test_an_offline_index_has_none_for_npm_unless_it_is_named() -> None:
    assert read(INDEX_UPSTREAM="none").npm is None
    assert read(INDEX_UPSTREAM="none", INDEX_NPM_UPSTREAM="https://registry.example").npm


@pytest.mark.parametrize("registry", ["https://named.example/npm/", ""])
def test_npm_is_asked_for_its_own_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    """A command of that name: what it is asked, and what is made of its answer."""
    script = f'#!/bin/sh\n[ "$1 $2 $3" = "config get registry" ] && echo "{registry}"\n'
    (tmp_path / "npm").write_text(script)
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert configured_registry() == registry


def test_without_npm_there_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert configured_registry() == ""
    (tmp_path / "npm").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    with pytest.raises(InvalidInputError, match="set INDEX_NPM_UPSTREAM"):
        configured_registry()


def test_a_file_of_authorities_must_hold_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate\n")
    with pytest.raises(InvalidInputError, match="INDEX_UPSTREAM_CA"):
        read(INDEX_UPSTREAM_CA=str(tmp_path / "ca.pem"))


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
