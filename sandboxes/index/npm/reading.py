"""An upstream's packument, which is a stranger's bytes, as a `Packument`. Pure.

Nothing is passed on but what is known here, each in its right type: a field that is not is dropped, a version
that could not be fetched and verified under its own name and number is left out, and the others stay.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

from sandboxes.index.errors import UpstreamError
from sandboxes.index.npm import integrity
from sandboxes.index.npm.names import LONGEST_TAG, read
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.page import LONGEST_URL, clean, utc

logger = logging.getLogger(__name__)

MOST_VERSIONS: Final = 50_000
_MOST_TAGS: Final = 2000
_LARGEST_SHORT: Final = 256 * 1024  # characters of one manifest; real ones have a few thousand
_LARGEST_MORE: Final = 16 * 1024  # the rest is left out above it: nothing is installed by it
_DEEPEST: Final = 6
_LONGEST_USER: Final = 214  # characters of a user's name
_LARGEST_SIZE: Final = 2**63
# Names that JavaScript objects have already: as keys they could change what a client takes for its own.
_POISON: Final = frozenset({"__proto__", "constructor", "prototype"})
_INSTALL_SCRIPTS: Final = ("preinstall", "install", "postinstall")
_MIRRORED: Final = ("http", "https")


def parse(name: str, body: bytes, base_url: str) -> Packument:
    """Raises `UpstreamError` when it is no packument of that package."""
    try:
        document = json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise UpstreamError(f"The upstream's packument of {name} is no JSON.") from error
    if not isinstance(document, dict) or document.get("name") != name:
        raise UpstreamError(f"The upstream's packument of {name} is none, or another package's.")
    versions, times = _object(document.get("versions")), _object(document.get("time"))
    if len(versions) > MOST_VERSIONS:
        raise UpstreamError(f"The upstream's packument of {name} lists more than {MOST_VERSIONS} versions.")
    releases = tuple(_releases(name, versions, times, base_url))
    if len(releases) < len(versions):
        logger.info(
            "packument of %s: %d of %d versions left out: no usable integrity, version or manifest",
            name,
            len(versions) - len(releases),
            len(versions),
        )
    return Packument(
        name,
        releases,
        _tags(document.get("dist-tags"), {release.version for release in releases}),
        _limited(_members(document, _ABOUT)),
        utc(times.get("created")) or "",
        utc(times.get("modified")) or "",
    )


def _releases(
    name: str, versions: Mapping[str, Any], times: Mapping[str, Any], base_url: str
) -> Iterator[Release]:
    for version, manifest in versions.items():
        release = _release(name, version, manifest, times.get(version), base_url)
        if release is not None:
            yield release


def _release(name: str, version: str, manifest: object, time: object, base_url: str) -> Release | None:
    if not isinstance(manifest, dict) or read(version) is None:
        return None
    if manifest.get("name") != name or manifest.get("version") != version:
        return None
    dist = _object(manifest.get("dist"))
    digest, url = integrity.digest_of(dist.get("integrity")), _address(base_url, dist.get("tarball"))
    short = _members(manifest, _SHORT)
    if _installs(manifest):
        short = ",".join(filter(None, (short, '"hasInstallScript":true')))
    if not digest or not url or len(short) > _LARGEST_SHORT:
        return None
    return Release(
        version,
        digest,
        url,
        published=utc(time),
        deprecated=_deprecated(manifest.get("deprecated")),
        size=_size(dist.get("unpackedSize")),
        short=short,
        more=_limited(_members(manifest, _MORE)),
        dist=_limited(_members(dist, _DIST)),
        publisher=_publisher(manifest.get("_npmUser")),
        trusted=isinstance(_object(manifest.get("_npmUser")).get("trustedPublisher"), dict),
        attested=_attested(dist.get("attestations")),
    )


def _installs(manifest: Mapping[str, Any]) -> bool:
    """Whether it runs code when it is installed: of npm's forms only the short one says so."""
    scripts = _object(manifest.get("scripts"))
    return manifest.get("hasInstallScript") is True or any(scripts.get(name) for name in _INSTALL_SCRIPTS)


def _publisher(value: object) -> str:
    name = _object(value).get("name")
    return clean(name)[:_LONGEST_USER] if isinstance(name, str) else ""


def _attested(value: object) -> bool:
    """npm's `dist.attestations`: where they are, and what the provenance's predicate is."""
    provenance = _object(_object(value).get("provenance"))
    return isinstance(provenance.get("predicateType"), str)


def _deprecated(value: object) -> str:
    """npm's own registry knows a text only; whatever else is true means it too."""
    if isinstance(value, str):
        return clean(value)[:1000]
    return "deprecated" if value else ""


def _size(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _LARGEST_SIZE else None


def _tags(value: object, versions: set[str]) -> dict[str, str]:
    tags = {
        tag: version
        for tag, version in _object(value).items()
        if isinstance(version, str) and version in versions and _is_tag(tag)
    }
    return dict(list(tags.items())[:_MOST_TAGS])


def _is_tag(tag: str) -> bool:
    return 0 < len(tag) <= LONGEST_TAG and tag == clean(tag) and tag not in _POISON


def _address(base_url: str, value: object) -> str:
    """An absolute http(s) URL without its fragment; "" for all else."""
    if not isinstance(value, str) or not value:
        return ""
    try:
        joined = urljoin(base_url, value)
        parts = urlsplit(joined)
        usable = parts.scheme in _MIRRORED and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    plain = parts._replace(fragment="").geturl()
    found = quote(plain, safe="%/:=&?~+!$,;'@()*[]") if usable and plain.isprintable() else ""
    return found if len(found) <= LONGEST_URL else ""


# What a field may be: each gives it as it is passed on, or None.


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: object) -> int | None:
    return _size(value)


def _texts(value: object) -> list[str] | None:
    """A single text counts as a list of one, as npm takes it."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        return None
    return [clean(each) for each in listed if isinstance(each, str)]


def _texts_or_flag(value: object) -> list[str] | bool | None:
    return value if isinstance(value, bool) else _texts(value)


def _map(value: object) -> dict[str, str] | None:
    """Of names to texts: dependencies, engines, commands."""
    if not isinstance(value, dict):
        return None
    pairs = {clean(key): clean(text) for key, text in value.items() if isinstance(text, str)}
    return {key: text for key, text in pairs.items() if key not in _POISON}


def _text_or_map(value: object) -> str | dict[str, str] | None:
    return clean(value) if isinstance(value, str) else _map(value)


def _peers(value: object) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    return {
        clean(key): {"optional": meta.get("optional") is True}
        for key, meta in value.items()
        if isinstance(meta, dict) and clean(key) not in _POISON
    }


def _any(value: object, depth: int = _DEEPEST) -> Any:
    """Only shown to people: any JSON, without what breaks readers."""
    match value:
        case str():
            return clean(value)
        case bool() | int():
            return value
        case list() if depth:
            return [_any(each, depth - 1) for each in value]
        case dict() if depth:
            pairs = {clean(key): _any(each, depth - 1) for key, each in value.items()}
            return {key: each for key, each in pairs.items() if key not in _POISON}
    return None


def _signatures(value: object) -> list[dict[str, str]] | None:
    if not isinstance(value, list):
        return None
    found = [_map(each) or {} for each in value]
    return [{"keyid": each["keyid"], "sig": each["sig"]} for each in found if {"keyid", "sig"} <= each.keys()]


type _Take = Callable[[Any], Any]

# What npm's short form has (its registry's documentation, "Abbreviated metadata format").
_SHORT: Final[Mapping[str, _Take]] = {
    "dependencies": _map,
    "devDependencies": _map,
    "optionalDependencies": _map,
    "peerDependencies": _map,
    "acceptDependencies": _map,
    "peerDependenciesMeta": _peers,
    "bundleDependencies": _texts_or_flag,
    "bundledDependencies": _texts_or_flag,
    "bin": _text_or_map,
    "directories": _map,
    "engines": _map,
    "cpu": _texts,
    "os": _texts,
    "libc": _texts,
    "_hasShrinkwrap": _flag,
    "funding": _any,
}
_MORE: Final[Mapping[str, _Take]] = {
    "description": _text,
    "keywords": _texts,
    "homepage": _text,
    "license": _any,
    "repository": _any,
    "bugs": _any,
    "author": _any,
    "maintainers": _any,
    "main": _text,
    "module": _text,
    "types": _text,
    "type": _text,
    "scripts": _map,
}
_ABOUT: Final[Mapping[str, _Take]] = {
    name: _MORE[name]
    for name in (
        "description",
        "keywords",
        "homepage",
        "license",
        "repository",
        "bugs",
        "author",
        "maintainers",
    )
}
_DIST: Final[Mapping[str, _Take]] = {
    "shasum": _text,
    "fileCount": _number,
    "unpackedSize": _number,
    "signatures": _signatures,
}


def _members(source: Mapping[str, Any], known: Mapping[str, _Take]) -> str:
    """Those fields of an object that are known and right, as JSON without braces."""
    taken = ((name, take(source[name])) for name, take in known.items() if name in source)
    return json.dumps(
        {name: value for name, value in taken if value is not None},
        separators=(",", ":"),
    )[1:-1]


def _limited(members: str) -> str:
    return members if len(members) <= _LARGEST_MORE else ""
