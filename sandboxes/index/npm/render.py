"""Packuments as npm wants them: full, or short (`application/vnd.npm.install-v1+json`). Pure."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from sandboxes.index.npm.integrity import integrity_of
from sandboxes.index.npm.names import filename_of
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.npm.view import View
from sandboxes.index.render import own_words

VERSION: Final = 2  # raise it when the same packument is rendered to other bytes


class Form(StrEnum):
    """The value is the media type."""

    FULL = "application/json"
    SHORT = "application/vnd.npm.install-v1+json"

    @property
    def content_type(self) -> str:
        return self.value


def form_for(accept: str) -> Form:
    """npm asks for the short form by name, and takes the full one too; who names none gets the full one."""
    best, form = 0.0, Form.FULL
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media in (Form.SHORT, Form.FULL) and (quality := _quality(parameters)) > best:
            best, form = quality, Form(media)
    return form


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q" and value.replace(".", "", 1).isdecimal() and value.isascii() and len(value) <= 5:
            return float(value)
    return 1.0


def render(packument: Packument, view: View, form: Form, base: str) -> bytes:
    """`base`: the index's own URL, as the client knows it, without a slash at the end."""
    given = [release for release in packument.releases if release.version not in view.refused]
    members = [
        f'"name":{_json(packument.name)}',
        f'"dist-tags":{_json(dict(view.tags))}',
        f'"versions":{{{",".join(_versions(packument.name, given, form, base))}}}',
        f'"modified":{_json(packument.modified)}' if packument.modified else "",
        *(_full(packument, given) if form is Form.FULL else ()),
        _restrictions(packument, view) if view.refused else "",
    ]
    return f"{{{','.join(filter(None, members))}}}".encode()


def manifest(packument: Packument, release: Release, base: str) -> bytes:
    """Of one version alone, in the full form."""
    return f"{{{_manifest(packument.name, release, Form.FULL, base)}}}".encode()


def tarball_url(base: str, name: str, version: str) -> str:
    path = f"{quote(name, safe='@/~')}/-/{quote(filename_of(name, version), safe='~')}"
    return f"{base}/npm/{path}"


def _versions(name: str, releases: list[Release], form: Form, base: str) -> Iterator[str]:
    for release in releases:
        yield f"{_json(release.version)}:{{{_manifest(name, release, form, base)}}}"


def _manifest(name: str, release: Release, form: Form, base: str) -> str:
    members = (
        f'"name":{_json(name)}',
        f'"version":{_json(release.version)}',
        release.short,
        release.more if form is Form.FULL else "",
        f'"deprecated":{_json(own_words(release.deprecated, "deprecated"))}' if release.deprecated else "",
        f'"dist":{{{_dist(name, release, base)}}}',
    )
    return ",".join(filter(None, members))


def _dist(name: str, release: Release, base: str) -> str:
    members = (
        f'"tarball":{_json(tarball_url(base, name, release.version))}',
        f'"integrity":{_json(integrity_of(release.digest))}',
        release.dist,
    )
    return ",".join(filter(None, members))


def _full(packument: Packument, releases: list[Release]) -> Iterator[str]:
    yield f'"_id":{_json(packument.name)}'
    yield packument.about
    times = {"created": packument.created, "modified": packument.modified}
    times |= {release.version: release.published or "" for release in releases}
    yield f'"time":{_json({key: time for key, time in times.items() if time})}'


def _restrictions(packument: Packument, view: View) -> str:
    """What npm's own `npm-pick-manifest` refuses with, and takes only when it finds nothing else."""
    refused: dict[str, Any] = {
        release.version: {"name": packument.name, "version": release.version}
        for release in packument.releases
        if release.version in view.refused
    }
    return f'"policyRestrictions":{_json({"versions": refused, "message": view.message})}'


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
