"""The form by which a person decides on a request or a waiver: `web/parts/decide.html`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pick:
    """A choice of what to grant: value → label, what was asked for among them."""

    name: str
    label: str
    options: Mapping[str, str]
    chosen: str = ""


@dataclass(frozen=True)
class Deciding:
    """`yes`, `no`: the value and the label of a button. Without `yes` there is only a no, and `limit` says why."""

    action: str  # the address
    hint: str
    longest: int  # characters of the reason
    no: tuple[str, str]
    yes: tuple[str, str] | None
    picks: tuple[Pick, ...] = ()
    limit: str = ""
