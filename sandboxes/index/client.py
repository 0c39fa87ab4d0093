"""Which program asks: read from its User-Agent. Pure."""

import re
from dataclasses import dataclass

_PRODUCT = re.compile(r"([A-Za-z][\w.-]{0,40})/([\w.+!-]{1,40})", re.ASCII)
_LONGEST = 1000  # characters kept of the header: pip's carries some 500 of JSON


@dataclass(frozen=True, slots=True)
class Client:
    """`name` is "pip 26.3" or "uv 0.13.9"; "" when the header names no product first."""

    name: str
    user_agent: str


def client_of(header: str | None) -> Client:
    """RFC 9110, section 10.1.5: the first product is the client itself, details follow."""
    # Headers arrive with undecodable bytes as lone surrogates, which no database takes.
    text = (header or "").encode("utf-8", "replace").decode("utf-8")[:_LONGEST]
    match = _PRODUCT.match(text)
    return Client(f"{match[1]} {match[2]}" if match else "", text)
