"""Which form of a page a client gets, and how it is packed: content negotiation after RFC 9110 and PEP 691. Pure."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol


class Media(Protocol):
    """A form that something is sent in, of an enumeration."""

    @property
    def value(self) -> str: ...
    @property
    def content_type(self) -> str: ...


class Form(StrEnum):
    """A page's forms; the value is the media type it is sent as."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML_V1 = "application/vnd.pypi.simple.v1+html"
    HTML = "text/html"

    @property
    def content_type(self) -> str:
        return f"{self.value}; charset=utf-8" if self is Form.HTML else self.value


class Coding(StrEnum):
    """How a page is packed; the value is its Content-Encoding. In the order in which we like them."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


_ALIASES = {  # PEP 691: "latest" is answered as the version it stands for
    "application/vnd.pypi.simple.latest+json": Form.JSON.value,
    "application/vnd.pypi.simple.latest+html": Form.HTML_V1.value,
}
# Among equals: what was named beats a wildcard, JSON beats HTML; a bare wildcard is an old client's, and gets HTML.
_NAMED = (Form.JSON, Form.HTML_V1, Form.HTML)
_WILD = (Form.HTML, Form.JSON, Form.HTML_V1)


def choose(accept: str | None) -> Form | None:
    """The best form for an Accept header; None when it accepts none (406). No header means ``*/*``."""
    ranges = dict(_ranges(accept)) if accept is not None and accept.strip() else {"*/*": 1.0}
    rated = [(*_rate(form, ranges), form) for form in Form]
    best = max((quality, specific) for quality, specific, _ in rated)
    if best[0] <= 0:
        return None
    equals = {form for quality, specific, form in rated if (quality, specific) == best}
    return next(form for form in (_NAMED if best[1] == 2 else _WILD) if form in equals)


def coding_for(accept_encoding: str | None) -> Coding:
    """The best coding for an Accept-Encoding header (RFC 9110, 12.5.3); what was not asked for is not packed.

    Unpacked is what a client gets that accepts nothing at all: it can but throw it away.
    """
    asked = dict(_ranges(accept_encoding or ""))
    rated = {coding: asked.get(coding.value, 0.0) for coding in Coding}
    if "*" in asked and Coding.GZIP.value not in asked:  # whoever takes anything takes what all know
        rated[Coding.GZIP] = asked["*"]
    return max(rated, key=lambda coding: rated[coding]) if max(rated.values()) > 0 else Coding.IDENTITY


def _rate(form: Form, ranges: dict[str, float]) -> tuple[float, int]:
    """(quality, how specifically it was named); the most specific range that matches decides."""
    kind = form.value.split("/")[0]
    for specific, key in ((2, form.value), (1, f"{kind}/*"), (0, "*/*")):
        if key in ranges:
            return ranges[key], specific
    return 0.0, 0


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Each range and its quality; of equal ranges the last counts. Unreadable parts accept nothing."""
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media:
            yield _ALIASES.get(media, media), _quality(parameters)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return _number(value.strip())
    return 1.0


def _number(text: str) -> float:
    """RFC 9110: 0 to 1, at most three digits after the point; 0 for anything else."""
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdecimal()) or len(text) > 5:
        return 0.0
    value = float(text)
    return value if value <= 1 else 0.0
