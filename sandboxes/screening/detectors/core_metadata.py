"""What a package says about itself: METADATA, PKG-INFO, WHEEL, package.json, read without trust."""

import email.parser
import email.policy
import re
from email.message import Message
from typing import Any, Final

from sandboxes.screening.detectors import npm_manifest
from sandboxes.screening.package import Kind, Member, Package

_MOST: Final = 1024 * 1024  # bytes; a long description is part of it
_DIST_INFO: Final = re.compile(r"([^/]+)\.dist-info/(METADATA|WHEEL)")


def dist_infos(package: Package) -> list[str]:
    """Folders at a wheel's top that hold metadata: one, if all is well; without ".dist-info"."""
    found = (_DIST_INFO.fullmatch(member.path) for member in package.members)
    return list(dict.fromkeys(match[1] for match in found if match))


def metadata_member(package: Package) -> Member | None:
    if package.kind is Kind.NPM:
        return package.member("package.json")
    if package.kind is Kind.SDIST:
        return package.member("PKG-INFO")
    folders = dist_infos(package)
    return package.member(f"{folders[0]}.dist-info/METADATA") if folders else None


def fields(member: Member | None) -> Message:
    """METADATA, PKG-INFO or WHEEL; what is not there has no fields."""
    text = member.text(_MOST) if member else ""
    return email.parser.Parser(policy=email.policy.compat32).parsestr(text, headersonly=True)


def one(message: Message, field: str) -> str:
    value = message.get(field)
    return str(value).strip() if value is not None else ""


def package_json(package: Package) -> dict[str, Any] | None:
    """None: there is none, or it cannot be read."""
    read = npm_manifest.manifest(package)
    return None if read.trouble is not None else read.said
