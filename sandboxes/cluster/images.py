"""Which container images may run: those of allowed registries, by digest if asked for.

References are read as the container runtimes read them (distribution/reference),
and compared as whole path segments of the full name: what only looks like an
allowed registry ("docker.io.evil.example/x", "evil.example/docker.io/x") is another
one. Whatever the grammar does not allow is refused, not guessed at.
"""

import re
from typing import Final

from sandboxes.errors import InvalidInputError

_DOCKER: Final = "docker.io"
_MAX_LENGTH: Final = 512
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?")
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
# "sha256:…" and bare 64 digits name an image that is on the node already, whatever its origin.
_IMAGE_ID: Final = re.compile(r"sha256|[0-9a-f]{64}")


def check_image(image: str, *, registries: tuple[str, ...], digest_required: bool) -> None:
    """InvalidInputError unless `image` comes from one of `registries`, with a digest if required.

    A registry is a host, or a host and the beginning of a path ("docker.io/library",
    "registry.example:5000/team"); none at all means any. Docker's short names mean
    what they mean to Docker: "python:3.13" is docker.io/library/python.
    """
    segments, digest = _parse(image)
    if digest_required and not digest:
        raise InvalidInputError(f"Image {image!r} must be pinned by its digest (name@sha256:…).")
    allowed = [_prefix(registry) for registry in registries]
    if allowed and not any(segments[: len(prefix)] == prefix for prefix in allowed):
        raise InvalidInputError(
            f"Image {image!r} ({'/'.join(segments)}) is from none of the allowed registries:"
            f" {', '.join(registries)}."
        )


def _parse(image: str) -> tuple[list[str], str]:
    """The full name, host first, in segments; and the digest, "" if there is none."""
    rest, has_digest, digest = image.partition("@")
    name, has_tag, tag = rest.rpartition(":")
    if not has_tag or "/" in tag:  # that colon was a port's
        name, has_tag, tag = rest, "", ""
    wrong = (
        len(image) > _MAX_LENGTH
        or (has_digest and not _DIGEST.fullmatch(digest))
        or (has_tag and not _TAG.fullmatch(tag))
        or _IMAGE_ID.fullmatch(name)
    )
    segments = _segments(name)
    if wrong or not _is_name(segments):
        raise InvalidInputError(
            f"{image[:_MAX_LENGTH]!r} is not an image reference (registry/path:tag@sha256:…, in lower case)."
        )
    return segments, digest


def _segments(name: str) -> list[str]:
    """A name's host and path. Without a host it is Docker's, and without a folder too, its library's."""
    segments = name.split("/")
    if len(segments) == 1 or not _is_host(segments[0]):
        segments = [_DOCKER, *segments]
    if segments[0] == "index.docker.io":
        segments[0] = _DOCKER
    if segments[0] == _DOCKER and len(segments) == 2:
        segments.insert(1, "library")
    return segments


def _is_host(segment: str) -> bool:
    """Docker's rule for the first segment: a host has a dot or a port, or is localhost."""
    return "." in segment or ":" in segment or segment == "localhost"


def _is_name(segments: list[str]) -> bool:
    host, *path = segments
    return bool(_HOST.fullmatch(host)) and all(_COMPONENT.fullmatch(each) for each in path)


def _prefix(registry: str) -> list[str]:
    """An allowed registry in segments. Its host must be written out: a short name could mean two things."""
    segments = registry.removesuffix("/").split("/")
    if not _is_host(segments[0]) or not _is_name(segments):
        raise InvalidInputError(
            f"{registry!r} is not a registry: it must begin with a host, as docker.io/library does."
        )
    return segments
