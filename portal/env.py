"""Everything Petridish reads from its environment, in one place, checked.

No Django here: the supervisor (`portal.run`) reads the same values before any
process starts. A bad value raises `InvalidInputError` with what to do about it.
"""

import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from portal import env_engine, env_screening
from portal.env_engine import Engine
from portal.env_screening import Feeds
from sandboxes.errors import InvalidInputError

ROOT = Path(__file__).resolve().parent.parent
SIMULATED = "simulated"
# What production takes from the environment alone, and what to set it to.
_NEEDED = {
    "DATABASE_URL": "postgresql://USER:PASSWORD@HOST/NAME",
    "BROKER_URL": "redis://HOST:6379/0, Valkey or Redis",
    "ALLOWED_HOSTS": "the portal's host names, commas between",
    "SECRET_KEY": "a secret of its own",
    "LEDGER_KEY": "a secret of its own; receipts and the ledger are proven with it",
    "SANDBOX_KEY": "a secret of its own; index tokens come from it",
    "INSTALLATION_ID": "a short name that stays",
}


@dataclass(frozen=True)
class Secrets:
    """Keys of one installation. Losing `sandbox` ends all index tokens; losing `ledger`, all proof."""

    django: str = field(repr=False)
    ledger: str = field(repr=False)
    sandbox: str = field(repr=False)
    installation: str = ""


@dataclass(frozen=True)
class Oidc:
    """Sign-in with an OpenID Connect provider: OIDC_SERVER_URL, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_NAME."""

    server_url: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str


@dataclass(frozen=True)
class Saml:
    """Sign-in with a SAML identity provider: SAML_METADATA_URL or _FILE, SAML_IDP_ENTITY_ID, SAML_ENTITY_ID, SAML_NAME.

    SAML_ATTRIBUTES says which of its attributes holds what, as
    `display_name=displayName,email=mail,department=department,username=uid`;
    `uid` in that list names one to know people by instead of the NameID.
    """

    metadata_url: str
    idp_entity_id: str | None  # None: the first in the metadata
    entity_id: str | None  # None: the address of our own metadata
    name: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class Environment:
    """The environment, typed. Paths are absolute."""

    production: bool
    bind: str
    port: int
    index_bind: str
    index_port: int
    index_url: str
    data_dir: Path
    database_url: str
    broker_url: str
    kubeconfig: str
    kube_context: str
    kube_user_prefix: str  # before our user names in the cluster's; never guess that its "alice" is ours
    workspace_image: str
    image_registries: tuple[str, ...]  # empty: any
    image_digests_required: bool
    index_upstream: str
    public_url: str
    allowed_hosts: tuple[str, ...]
    oidc: Oidc | None
    saml: Saml | None
    engine: Engine
    feeds: Feeds
    secrets: Secrets

    @property
    def simulated(self) -> bool:
        """Without a context named on purpose, no real cluster is touched."""
        return not self.kube_context

    @property
    def egress_proxy_url(self) -> str:
        """`http://HOST:PORT`, where sandboxes find the egress proxy; empty if there is none."""
        if not self.engine.egress_proxy_port:
            return ""
        host = urlsplit(self.index_url).hostname or self.index_bind
        return self.engine.egress_proxy_url or f"http://{_bracketed(host)}:{self.engine.egress_proxy_port}"

    @property
    def cluster_name(self) -> str:
        return SIMULATED if self.simulated else self.kube_context


def read(environ: Mapping[str, str] = os.environ) -> Environment:
    """The environment as given; raises `InvalidInputError` naming the variable and the remedy."""
    production = _mode(environ) == "production"
    if production:
        _refuse_missing(environ)
    data_dir = Path(environ.get("DATA_DIR") or ROOT / ".data").expanduser().resolve()
    port = _port(environ, "PORT", 8000)
    index_port = _port(environ, "INDEX_PORT", 8081)
    bind = environ.get("INDEX_BIND") or "127.0.0.1"
    index_url = environ.get("INDEX_URL") or f"http://{_bracketed(bind)}:{index_port}"
    public_url = environ.get("PUBLIC_URL") or f"http://127.0.0.1:{port}"
    context = environ.get("KUBE_CONTEXT", "")
    return Environment(
        production=production,
        bind=environ.get("BIND") or "127.0.0.1",
        port=port,
        index_bind=bind,
        index_port=index_port,
        index_url=_http_url("INDEX_URL", index_url),
        data_dir=data_dir,
        database_url=_database_url(environ, data_dir),
        broker_url=environ.get("BROKER_URL") or "filesystem://",
        kubeconfig=_kubeconfig(environ, context, data_dir),
        kube_context=context,
        kube_user_prefix=environ.get("KUBE_USER_PREFIX", "petridish:"),
        workspace_image=environ.get("WORKSPACE_IMAGE", ""),
        image_registries=_list(environ, "IMAGE_REGISTRIES"),
        image_digests_required=_digests(environ),
        index_upstream=_upstream(environ),
        public_url=_http_url("PUBLIC_URL", public_url),
        allowed_hosts=_hosts(environ, production),
        oidc=_oidc(environ),
        saml=_saml(environ),
        engine=env_engine.read(environ),
        feeds=env_screening.read(environ),
        secrets=_secrets(environ, data_dir),
    )


def _mode(environ: Mapping[str, str]) -> str:
    mode = environ.get("PETRIDISH_MODE") or "demo"
    if mode not in ("demo", "production"):
        raise InvalidInputError(f"PETRIDISH_MODE is {mode!r}; set it to demo or production.")
    return mode


def _refuse_missing(environ: Mapping[str, str]) -> None:
    """All that production needs and does not have, at once."""
    if missing := [f"{name} ({what})" for name, what in _NEEDED.items() if not environ.get(name)]:
        raise InvalidInputError(f"Not set, and production needs it: {'; '.join(missing)}.")


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise InvalidInputError(f"{name} is {text!r}; set it to a port number from 1 to 65535.")
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _http_url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        whole = (
            parts.scheme in ("http", "https") and parts.hostname and not parts.username and parts.port != 0
        )
    except ValueError:  # a port beyond 65535, an IPv6 address without its end
        whole = False
    if not whole:
        raise InvalidInputError(f"{name} is {url!r}; set it to http://HOST[:PORT], without credentials.")
    return url.rstrip("/")


def _kubeconfig(environ: Mapping[str, str], context: str, data_dir: Path) -> str:
    if not context:
        return str(data_dir / "cluster" / "kubeconfig")
    path = Path(environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    if not path.is_file():
        raise InvalidInputError(
            f"KUBE_CONTEXT is set, but KUBECONFIG ({path}) is not a file; name one that is."
        )
    return str(path.resolve())


def _database_url(environ: Mapping[str, str], data_dir: Path) -> str:
    """`DATABASE_URL`, else what the supervisor wrote down when it started the embedded server."""
    if url := environ.get("DATABASE_URL"):
        return url
    note = data_dir / "database_url"
    if note.is_file():
        return note.read_text().strip()
    return f"postgresql://postgres@/petridish?host={data_dir / 'postgres'}"


def _upstream(environ: Mapping[str, str]) -> str:
    """Empty: the index process asks pip. May hold credentials, so a wrong one is not repeated in the message."""
    url = environ.get("INDEX_UPSTREAM", "")
    if url and url.strip().lower() != "none" and not url.startswith(("http://", "https://")):
        raise InvalidInputError(
            "INDEX_UPSTREAM is no URL; set it to http(s)://[NAME:PASSWORD@]HOST[:PORT]/simple/."
        )
    return url


def _list(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())


def _digests(environ: Mapping[str, str]) -> bool:
    value = environ.get("IMAGE_DIGESTS") or "optional"
    if value not in ("optional", "required"):
        raise InvalidInputError(f"IMAGE_DIGESTS is {value!r}; set it to optional or required.")
    return value == "required"


def _hosts(environ: Mapping[str, str], production: bool) -> tuple[str, ...]:
    hosts = _list(environ, "ALLOWED_HOSTS")
    if production and not hosts:  # it is set, to commas
        raise InvalidInputError("ALLOWED_HOSTS names no host; name the portal's, separated by commas.")
    return hosts or ("127.0.0.1", "localhost", "[::1]")


def _oidc(environ: Mapping[str, str]) -> Oidc | None:
    names = ("OIDC_SERVER_URL", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")
    if not any(environ.get(name) for name in names):
        return None
    if missing := [name for name in names if not environ.get(name)]:
        raise InvalidInputError(f"{', '.join(missing)}: not set; OIDC needs {', '.join(names)}.")
    return Oidc(
        server_url=_trusted_url("OIDC_SERVER_URL", environ["OIDC_SERVER_URL"]),
        client_id=environ["OIDC_CLIENT_ID"],
        client_secret=environ["OIDC_CLIENT_SECRET"],
        name=environ.get("OIDC_NAME") or "single sign-on",
    )


def _saml(environ: Mapping[str, str]) -> Saml | None:
    url, file = environ.get("SAML_METADATA_URL"), environ.get("SAML_METADATA_FILE")
    if url and file:
        raise InvalidInputError("SAML_METADATA_URL and SAML_METADATA_FILE are both set; set one.")
    if file:
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise InvalidInputError(f"SAML_METADATA_FILE ({path}) is not a file; name one that is.")
        metadata_url = path.as_uri()
    elif url:
        metadata_url = _trusted_url("SAML_METADATA_URL", url)
    else:
        return None
    return Saml(
        metadata_url=metadata_url,
        idp_entity_id=environ.get("SAML_IDP_ENTITY_ID") or None,
        entity_id=environ.get("SAML_ENTITY_ID") or None,
        name=environ.get("SAML_NAME") or "single sign-on",
        attributes=_attributes(environ.get("SAML_ATTRIBUTES", "")),
    )


def _trusted_url(name: str, url: str) -> str:
    """Who can change what comes from there can sign in as anybody: TLS, or this machine."""
    parts = urlsplit(_http_url(name, url))
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise InvalidInputError(f"{name} is {url!r}; sign-in needs an https:// address.")
    return url.rstrip("/")


def _attributes(text: str) -> dict[str, str]:
    known = ("uid", "username", "email", "display_name", "department")
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if wrong := [key for key, _, value in pairs if key not in known or not value]:
        raise InvalidInputError(
            f"SAML_ATTRIBUTES: {', '.join(wrong)}; write NAME=ATTRIBUTE, NAME of {', '.join(known)}."
        )
    return {key: value for key, _, value in pairs}


def _secrets(environ: Mapping[str, str], data_dir: Path) -> Secrets:
    """From the environment, where production has all of them; else from a file made on first use (mode 600)."""
    names = {
        "django": "SECRET_KEY",
        "ledger": "LEDGER_KEY",
        "sandbox": "SANDBOX_KEY",
        "installation": "INSTALLATION_ID",
    }
    given = {key: environ.get(name, "") for key, name in names.items()}
    if all(given.values()):
        return Secrets(**given)
    return Secrets(**{**_kept_secrets(data_dir / "secrets.json"), **{k: v for k, v in given.items() if v}})


def _kept_secrets(path: Path) -> dict[str, str]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {key: secrets.token_urlsafe(48) for key in ("django", "ledger", "sandbox")}
        made["installation"] = uuid.uuid4().hex[:12]
        draft = path.with_name(f".secrets-{os.getpid()}-{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(made))
        try:
            os.link(draft, path)  # whoever links first wins; a half-written file is never seen
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
