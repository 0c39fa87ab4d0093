"""The environment: defaults, what is refused, and with which words."""

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from portal import env
from portal.accounts import sso
from sandboxes.errors import InvalidInputError

PRODUCTION = {
    "PETRIDISH_MODE": "production",
    "DATABASE_URL": "postgresql://db/petridish",
    "BROKER_URL": "redis://queue/0",
    "ALLOWED_HOSTS": "petridish.example.com",
    "SECRET_KEY": "a",
    "LEDGER_KEY": "b",
    "SANDBOX_KEY": "c",
    "INSTALLATION_ID": "d",
}
OIDC = {
    "OIDC_SERVER_URL": "https://id.example.com",
    "OIDC_CLIENT_ID": "petridish",
    "OIDC_CLIENT_SECRET": "hush",
}


def _read(data_dir: Path, given: Mapping[str, str]) -> env.Environment:
    return env.read({"DATA_DIR": str(data_dir), **given})


def test_nothing_set(tmp_path: Path) -> None:
    read = _read(tmp_path, {})

    assert (read.bind, read.port, read.index_bind, read.index_port) == ("127.0.0.1", 8000, "127.0.0.1", 8081)
    assert (read.public_url, read.index_url) == ("http://127.0.0.1:8000", "http://127.0.0.1:8081")
    assert (read.production, read.simulated, read.cluster_name) == (False, True, "simulated")
    assert (read.oidc, read.saml) == (None, None)
    assert sso.providers(read) == {}


def test_a_kubeconfig_alone_touches_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    read = _read(tmp_path, {"KUBECONFIG": str(tmp_path / "config")})

    assert read.simulated
    assert read.kubeconfig == str(tmp_path / "cluster" / "kubeconfig")


def test_a_context_names_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    read = _read(tmp_path, {"KUBECONFIG": str(tmp_path / "config"), "KUBE_CONTEXT": "lab"})

    assert (read.simulated, read.cluster_name) == (False, "lab")
    assert read.kubeconfig == str(tmp_path / "config")


def test_index_url_follows_from_where_the_index_listens(tmp_path: Path) -> None:
    assert _read(tmp_path, {"INDEX_BIND": "::1", "INDEX_PORT": "9"}).index_url == "http://[::1]:9"
    assert _read(tmp_path, {"INDEX_URL": "http://index.lan/"}).index_url == "http://index.lan"


def test_keys_are_made_once_and_kept_closed(tmp_path: Path) -> None:
    first, second = _read(tmp_path, {}), _read(tmp_path, {})

    assert first.secrets == second.secrets
    assert len({first.secrets.django, first.secrets.ledger, first.secrets.sandbox}) == 3
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_keys_are_not_shown(tmp_path: Path) -> None:
    read = _read(tmp_path, OIDC)
    assert read.secrets.ledger not in repr(read)
    assert "hush" not in repr(read)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"PETRIDISH_MODE": "prod"}, "PETRIDISH_MODE"),
        ({"PORT": "0"}, "PORT"),
        ({"PORT": "65536"}, "PORT"),
        ({"PORT": "http"}, "PORT"),
        ({"INDEX_PORT": "-1"}, "INDEX_PORT"),
        ({"INDEX_URL": "index.lan"}, "INDEX_URL"),
        ({"INDEX_URL": "http://me:secret@index.lan"}, "INDEX_URL"),
        ({"KUBE_CONTEXT": "lab", "KUBECONFIG": "/nowhere/at/all"}, "KUBECONFIG"),
        ({"OIDC_CLIENT_ID": "petridish"}, "OIDC_SERVER_URL, OIDC_CLIENT_SECRET"),
        ({**OIDC, "OIDC_SERVER_URL": "http://id.example.com"}, "https"),
        ({"SAML_METADATA_URL": "http://id.example.com/metadata"}, "https"),
        ({"SAML_METADATA_FILE": "/nowhere/at/all"}, "SAML_METADATA_FILE"),
        ({"SAML_METADATA_URL": "https://id.example.com", "SAML_METADATA_FILE": "x"}, "set one"),
        ({"SAML_METADATA_URL": "https://id.example.com", "SAML_ATTRIBUTES": "role=groups"}, "role"),
    ],
)
def test_a_bad_value_is_refused_by_name(tmp_path: Path, given: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        _read(tmp_path, given)


def test_production_takes_everything_from_the_environment(tmp_path: Path) -> None:
    read = _read(tmp_path, PRODUCTION)

    assert read.production
    assert not (tmp_path / "secrets.json").exists()


@pytest.mark.parametrize("name", sorted(PRODUCTION.keys() - {"PETRIDISH_MODE"}))
def test_production_refuses_to_make_something_up(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        _read(tmp_path, {key: value for key, value in PRODUCTION.items() if key != name})


def test_production_names_all_that_is_missing_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refused:
        _read(tmp_path, {"PETRIDISH_MODE": "production", "BROKER_URL": "redis://queue/0", "SECRET_KEY": ""})
    for name in PRODUCTION.keys() - {"PETRIDISH_MODE", "BROKER_URL"}:
        assert f"{name} (" in str(refused.value)
    assert "BROKER_URL" not in str(refused.value)


def test_single_sign_on_as_allauth_wants_it(tmp_path: Path) -> None:
    metadata = tmp_path / "metadata.xml"
    metadata.touch()
    saml = {
        "SAML_METADATA_FILE": str(metadata),
        "SAML_ATTRIBUTES": "email=mail, department=ou",
        "SAML_NAME": "Company",
    }
    providers = sso.providers(_read(tmp_path, {**OIDC, **saml}))

    oidc = providers["openid_connect"]["APPS"][0]
    assert (oidc["provider_id"], oidc["secret"]) == ("oidc", "hush")
    assert oidc["settings"]["server_url"] == "https://id.example.com"
    app = providers["saml"]["APPS"][0]
    assert (app["client_id"], app["name"]) == ("saml", "Company")
    assert app["settings"]["idp"]["metadata_url"] == metadata.as_uri()
    assert app["settings"]["attribute_mapping"] == {"email": "mail", "department": "ou"}
    assert app["settings"]["advanced"]["want_assertion_signed"]


@pytest.mark.parametrize(
    "url", ["http://h:99999", "http://h:0", "http://[::1", "ftp://h", "http://me:pw@h", "h:80"]
)
def test_an_index_url_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInputError, match="INDEX_URL"):
        _read(tmp_path, {"INDEX_URL": url})


def test_which_images_may_come_in(tmp_path: Path) -> None:
    assert _read(tmp_path, {}).image_registries == ()
    assert not _read(tmp_path, {}).image_digests_required
    read = _read(
        tmp_path, {"IMAGE_REGISTRIES": "one.example.com, ,two.example.com/x", "IMAGE_DIGESTS": "required"}
    )
    assert read.image_registries == ("one.example.com", "two.example.com/x")
    assert read.image_digests_required
    with pytest.raises(InvalidInputError, match="IMAGE_DIGESTS"):
        _read(tmp_path, {"IMAGE_DIGESTS": "yes"})


def test_an_upstream_that_is_no_url_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="INDEX_UPSTREAM") as caught:
        _read(tmp_path, {"INDEX_UPSTREAM": "me:hush@index"})
    assert "hush" not in str(caught.value)
    assert _read(tmp_path, {"INDEX_UPSTREAM": "http://me:hush@index/simple/"}).index_upstream
    assert _read(tmp_path, {"INDEX_UPSTREAM": "none"}).index_upstream == "none"
