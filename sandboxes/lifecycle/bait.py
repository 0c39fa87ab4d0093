"""Fake credentials, unique to each sandbox: as a thief would find them, worth nothing, and pointing at us.

Everything is derived from the installation's sandbox key, as index tokens are: the same sandbox has the same
at every rendering, and nothing readable lies in the database. None can be mistaken for, or collide with, a
real one: the access key's id holds a digit that Amazon's alphabet lacks, the PyPI token is no macaroon, and the
SSH key is on no list of anybody's.

How each leads to us, with what the one who uses it has to show:

- *aws*: `endpoint_url` in `.aws/config` names our endpoint. Requests are signed and show the key's id.
- *pypi*: the repository in `.pypirc` is our endpoint, which is shown the token as a password.
- *ssh*: `.ssh/config` has a host at the index's own address and port, which answers SSH there and sees the key that
  is offered; the user's name leads to this sandbox as well. An index behind https has something in front of it
  that passes no SSH on. There the host's ProxyCommand asks our endpoint, and ssh runs it before it would
  connect; the address asked for is the key's own.
- *place*: the endpoint's own address: of use to nobody who did not read one of these files.
"""

import base64
import hashlib
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

from sandboxes.lifecycle.bait_shape import USER, ssh_tag

_MAGIC: Final = b"openssh-key-v1\0"
_BLOCK: Final = 8  # an unencrypted private key is padded to a multiple of this
_LINE: Final = 70


class Kind(StrEnum):
    AWS = "aws"
    SSH = "ssh"
    PYPI = "pypi"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Bait:
    """`identifier` may be shown to people; `shown` is what its use shows, and no page or log does."""

    kind: Kind
    identifier: str
    shown: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.shown.encode()).hexdigest()


def baits(sandbox_id: int) -> tuple[Bait, ...]:
    """All that is planted in one sandbox."""
    key_id, token, place = _key_id(sandbox_id), _token(sandbox_id), _tag(sandbox_id, Kind.PLACE)
    return (
        Bait(Kind.AWS, key_id, key_id),
        Bait(Kind.SSH, _fingerprint(_public(sandbox_id)), ssh_tag(_public_blob(_public(sandbox_id)))),
        Bait(Kind.PYPI, f"{token[:17]}…", token),
        Bait(Kind.PLACE, f"{place[:6]}…", place),
    )


def files(sandbox_id: int) -> Mapping[str, str]:
    """Contents by the names that `k8s-templates/sandbox/35-bait.yaml` puts into the workspace's home."""
    place = _endpoint(_tag(sandbox_id, Kind.PLACE))
    public = f"ssh-ed25519 {base64.b64encode(_public_blob(_public(sandbox_id))).decode()} deploy"
    return {
        "aws-credentials": (
            f"[default]\naws_access_key_id = {_key_id(sandbox_id)}\n"
            f"aws_secret_access_key = {base64.b64encode(_derived(sandbox_id, 'aws-secret')[:30]).decode()}\n"
        ),
        "aws-config": f"[default]\nregion = eu-central-1\nendpoint_url = {place}/aws\n",
        "ssh-key": _private_key(sandbox_id),
        "ssh-key-public": f"{public}\n",
        "ssh-config": _ssh_config(sandbox_id),
        "pypirc": (
            "[distutils]\nindex-servers = internal\n\n"
            f"[internal]\nrepository = {place}/upload/\nusername = __token__\npassword = {_token(sandbox_id)}\n"
        ),
    }


def _ssh_config(sandbox_id: int) -> str:
    parts = urlsplit(settings.INDEX_URL)
    if parts.scheme == "https":
        url = _endpoint(ssh_tag(_public_blob(_public(sandbox_id))))
        way = f"  ProxyCommand python3 -c \"import urllib.request as r; r.urlopen('{url}')\"\n"
    else:
        way = f"  HostName {parts.hostname}\n  Port {parts.port or 80}\n"
        way += "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
    user = f"{USER}{_tag(sandbox_id, Kind.PLACE)}"
    return f"Host deploy\n  User {user}\n  IdentityFile ~/.ssh/id_ed25519\n{way}"


def _endpoint(tag: str) -> str:
    parts = urlsplit(settings.INDEX_URL)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/honey/{tag}", "", ""))


def _key_id(sandbox_id: int) -> str:
    """Twenty characters, as Amazon's; see `bait_shape`."""
    return f"AKIAPETRI0{base64.b32encode(_derived(sandbox_id, Kind.AWS)).decode()[:10]}"


def _token(sandbox_id: int) -> str:
    raw = _derived(sandbox_id, Kind.PYPI) + _derived(sandbox_id, "pypi-rest")
    return f"pypi-PETRI0{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def _tag(sandbox_id: int, kind: Kind) -> str:
    return base64.b32encode(_derived(sandbox_id, f"tag-{kind}")).decode().lower()[:24]


def _derived(sandbox_id: int, what: str) -> bytes:
    """32 bytes that nobody can guess who lacks the key, nor from the others."""
    message = f"honeytoken/{settings.INSTALLATION_ID}/{sandbox_id}/{what}".encode()
    return hmac.new(settings.SANDBOX_KEY, message, hashlib.sha256).digest()


# ---- the SSH key, in the format of OpenSSH (PROTOCOL.key): the library writes random bytes into it, and
# what is rendered twice must be the same


def _public(sandbox_id: int) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(_derived(sandbox_id, Kind.SSH))
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _fingerprint(public: bytes) -> str:
    digest = hashlib.sha256(_public_blob(public)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _public_blob(public: bytes) -> bytes:
    return _field(b"ssh-ed25519") + _field(public)


def _private_key(sandbox_id: int) -> str:
    seed, public = _derived(sandbox_id, Kind.SSH), _public(sandbox_id)
    check = _derived(sandbox_id, "ssh-check")[:4]
    secret = check * 2 + _public_blob(public) + _field(seed + public) + _field(b"deploy")
    secret += bytes(range(1, -len(secret) % _BLOCK + 1))
    blob = _MAGIC + _field(b"none") * 2 + _field(b"") + struct.pack(">I", 1)
    text = base64.b64encode(blob + _field(_public_blob(public)) + _field(secret)).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])


def _field(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
