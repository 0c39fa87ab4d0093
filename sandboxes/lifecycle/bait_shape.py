"""What planted credentials look like, as regular expressions: for the index process, which derives none of them."""

from typing import Final

AWS_PATTERN: Final = r"AKIAPETRI0[A-Z2-7]{10}"  # Amazon's are base32 behind the prefix, which has no 0
PYPI_PATTERN: Final = r"pypi-PETRI0[A-Za-z0-9_-]{86}"
TAG_PATTERN: Final = r"[a-z2-7]{24}"
