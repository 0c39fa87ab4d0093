"""Names on the cluster: a readable slug, then a short hash that makes it unique.

The hash covers what the slug loses (case, accents, length), so two owners whose
slugs agree never share a namespace. The same input gives the same name: after a
crash, the name is enough to find what was already created.
"""

import hashlib
import re
import unicodedata
from typing import Final

WORKSPACE_POD: Final = "workspace-0"  # the only pod of a sandbox that its owner may enter
PROBE_POD: Final = "probe"  # what it says is believed, so nobody else may make one of that name

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_HASH_LENGTH: Final = 6
_PART_LENGTH: Final = 24  # "sbx-" + 24 + "-" + 24 + "-" + 6 = 60, within DNS-1123's 63


def sandbox_name(owner: str, profile: str, sandbox_id: int, *, installation_id: str = "") -> str:
    """A DNS-1123 label of at most 63 characters, e.g. "sbx-alice-python-3f9k2a".

    `installation_id` keeps two installations that share a cluster apart.
    """
    digest = short_hash("\0".join((installation_id, owner, profile, str(sandbox_id))))
    return f"sbx-{_slug(owner, 'someone')}-{_slug(profile, 'sandbox')}-{digest}"


def _slug(text: str, otherwise: str) -> str:
    """Lower-case ASCII letters, digits and single inner dashes; never empty."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text)[:_PART_LENGTH].strip("-") or otherwise


def short_hash(text: str) -> str:
    """Six characters that fit into a name, nearly always others for another text."""
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    digits = []
    for _ in range(_HASH_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
