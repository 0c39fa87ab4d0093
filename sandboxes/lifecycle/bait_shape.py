"""What planted credentials look like: for the index process, which derives none of them."""

import base64
import hashlib
from typing import Final

AWS_PATTERN: Final = r"AKIAPETRI0[A-Z2-7]{10}"  # Amazon's are base32 behind the prefix, which has no 0
PYPI_PATTERN: Final = r"pypi-PETRI0[A-Za-z0-9_-]{86}"
TAG_PATTERN: Final = r"[a-z2-7]{24}"
USER: Final = "deploy-"  # with a tag behind it: the user's name in `.ssh/config`


def ssh_tag(public: bytes) -> str:
    """A tag that whoever offers this public key (RFC 4253, 6.6) shows with it."""
    return base64.b32encode(hashlib.sha256(public).digest()[:15]).decode().lower()
