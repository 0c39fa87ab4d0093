"""Pages as bytes: HTML (PEP 503, 592, 629, 658, 714, 740, 792, 833) and JSON (PEP 691, 700) from one model. Pure.

Links are relative to `/simple/PROJECT/`, so pages are right behind any host
name and prefix, and never name the upstream. Only a link to provenance must be
absolute and https (PEP 740); it is left out where the index itself is not https.

Files that policy refuses stay listed and are marked as yanked (PEP 592), with the reason: clients then take
an older version unasked, and show the reason to whoever asks for that one.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import msgspec

from sandboxes.index.negotiation import Form
from sandboxes.index.page import File, Page

VERSION = "4"  # of what is rendered; part of every etag, so raise it when the output changes

_HTML_VERSION = "1.4"  # PEP 833: the last of HTML; what it adds to 1.0 is optional in HTML
_JSON_VERSION = "1.4"
# From 1.1 on sizes are mandatory (PEP 700); later keys are unknown to 1.0, so ignored.
_JSON_WITHOUT_SIZES = "1.0"
_HEAD = (
    "<!DOCTYPE html>\n"
    '<html lang="en"><head><meta charset="utf-8"><meta name="pypi:repository-version" content="{version}">'
    "{status}<title>{title}</title></head>\n<body><h1>{title}</h1>\n"
)
_TAIL = "</body></html>\n"


type Marks = Mapping[tuple[str, str], str]  # by file name and sha256: why policy refuses it


def render_page(page: Page, form: Form, marks: Marks | None = None, index_url: str = "") -> bytes:
    """`index_url` is the index's own, as sandboxes know it, without a slash at the end."""
    links = _Links(page, index_url if index_url.startswith("https://") else "")
    if form is Form.JSON:
        return _json_page(links, marks or {})
    return "".join(_html_page(links, marks or {})).encode()


def render_names(names: Iterable[str], form: Form) -> bytes:
    """The list of projects."""
    if form is Form.JSON:
        projects = [{"name": name} for name in names]
        return msgspec.json.encode({"meta": {"api-version": _JSON_VERSION}, "projects": projects})
    head = _HEAD.format(version=_HTML_VERSION, status="", title="Projects")
    return "".join([head, *(f'<a href="{name}/">{name}</a><br>\n' for name in names), _TAIL]).encode()


class _Entry(msgspec.Struct, rename="kebab", omit_defaults=True):
    """A file on a JSON page; what is empty is left out."""

    filename: str
    url: str
    hashes: dict[str, str]
    yanked: bool | str
    requires_python: str = ""
    # PEP 714: the new key, and for pip before 23.1 the old one.
    core_metadata: dict[str, str] | None = None
    data_dist_info_metadata: dict[str, str] | None = None
    size: int | None = None
    upload_time: str | None = None
    provenance: str = ""


@dataclass(frozen=True, slots=True)
class _Links:
    """A page, and what the things on it are called here."""

    page: Page
    base: str  # of absolute links; "": there are none

    def file(self, file: File) -> str:
        return f"../../files/{self._path(file)}"

    def provenance(self, file: File) -> str:
        """ "" when the upstream has none, or it cannot be named (PEP 740: a secure origin only)."""
        return f"{self.base}/provenance/{self._path(file)}" if self.base and file.provenance else ""

    def _path(self, file: File) -> str:
        return f"{self.page.project}/{file.sha256}/{quote(file.filename)}"


def _yanked(file: File, marks: Marks) -> bool | str:
    mark = marks.get((file.filename, file.sha256))
    if mark is not None:
        return mark
    return own_words(file.yanked, "yanked") if isinstance(file.yanked, str) else file.yanked


def own_words(reason: str, what: str) -> str:
    """What a project says of its file. It may not look like what policy says, which begins with a rule in brackets."""
    begins_so = unicodedata.category(reason.lstrip()[:1] or " ") == "Ps"  # "[", and what looks like it
    return f"{what} by its own project: {reason}" if begins_so else reason


def _status(page: Page) -> dict[str, str]:
    """PEP 792; a project whose files are listed is never said to be quarantined."""
    if not page.status or (page.status == "quarantined" and page.files):
        return {}
    return {"status": page.status} | ({"reason": page.status_reason} if page.status_reason else {})


def _json_page(links: _Links, marks: Marks) -> bytes:
    page = links.page
    sized = all(
        file.size is not None for file in page.files
    )  # an upstream that speaks HTML does not say them
    document: dict[str, object] = {
        "meta": {"api-version": _JSON_VERSION if sized else _JSON_WITHOUT_SIZES},
        "name": page.project,
        "versions": page.versions,
        "files": [_entry(links, file, _yanked(file, marks)) for file in page.files],
    }
    if status := _status(page):
        document["project-status"] = status
    return msgspec.json.encode(document)


def _entry(links: _Links, file: File, yanked: bool | str) -> _Entry:
    metadata = {"sha256": file.metadata_sha256} if file.metadata_sha256 else None
    return _Entry(
        filename=file.filename,
        url=links.file(file),
        hashes={"sha256": file.sha256},
        yanked=yanked,
        requires_python=file.requires_python,
        core_metadata=metadata,
        data_dist_info_metadata=metadata,
        size=file.size,
        upload_time=file.upload_time or None,
        provenance=links.provenance(file),
    )


def _html_page(links: _Links, marks: Marks) -> Iterator[str]:
    page = links.page
    status = {"status": "pypi:project-status", "reason": "pypi:project-status-reason"}
    metas = "".join(
        f'<meta name="{status[key]}" content="{escape(value)}">' for key, value in _status(page).items()
    )
    yield _HEAD.format(version=_HTML_VERSION, status=metas, title=f"Links for {page.project}")
    for file in page.files:
        pairs = _attributes(links, file, _yanked(file, marks))
        attributes = "".join(f' {name}="{escape(value)}"' for name, value in pairs)
        yield f'<a href="{links.file(file)}#sha256={file.sha256}"{attributes}>{escape(file.filename)}</a><br>\n'
    yield _TAIL


def _attributes(links: _Links, file: File, yanked: bool | str) -> Iterator[tuple[str, str]]:
    if file.requires_python:
        yield "data-requires-python", file.requires_python
    if yanked:
        yield "data-yanked", yanked if isinstance(yanked, str) else ""
    if file.metadata_sha256:
        yield "data-core-metadata", f"sha256={file.metadata_sha256}"
        yield "data-dist-info-metadata", f"sha256={file.metadata_sha256}"
    if provenance := links.provenance(file):
        yield "data-provenance", provenance
