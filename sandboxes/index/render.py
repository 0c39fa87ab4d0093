"""Pages as bytes: HTML (PEP 503, 592, 629, 658, 714) and JSON (PEP 691, 700) from one model. Pure.

Links are relative to `/simple/PROJECT/`, so pages are right behind any host
name and prefix, and never name the upstream.
"""

import json
from collections.abc import Iterable, Iterator
from html import escape
from urllib.parse import quote

from sandboxes.index.negotiation import Form
from sandboxes.index.page import File, Page

VERSION = "1"  # of what is rendered; part of every etag, so raise it when the output changes

_HTML_VERSION = "1.0"  # every attribute used is optional there
_HEAD = (
    "<!DOCTYPE html>\n"
    '<html lang="en"><head><meta charset="utf-8"><meta name="pypi:repository-version" content="{version}">'
    "<title>{title}</title></head>\n<body><h1>{title}</h1>\n"
)
_TAIL = "</body></html>\n"


def render_page(page: Page, form: Form) -> bytes:
    text = _json_page(page) if form is Form.JSON else "".join(_html_page(page))
    return text.encode()


def render_names(names: Iterable[str], form: Form) -> bytes:
    """The list of projects."""
    if form is Form.JSON:
        return _dump(
            {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}
        ).encode()
    head = _HEAD.format(version=_HTML_VERSION, title="Projects")
    return "".join([head, *(f'<a href="{name}/">{name}</a><br>\n' for name in names), _TAIL]).encode()


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _link(page: Page, file: File) -> str:
    return f"../../files/{page.project}/{file.sha256}/{quote(file.filename)}"


def _json_page(page: Page) -> str:
    # PEP 700 makes `size` mandatory from 1.1 on; an upstream that speaks HTML does not say it.
    version = "1.1" if all(file.size is not None for file in page.files) else "1.0"
    return _dump(
        {
            "meta": {"api-version": version},
            "name": page.project,
            "versions": page.versions,
            "files": [_json_file(page, file) for file in page.files],
        }
    )


def _json_file(page: Page, file: File) -> dict[str, object]:
    entry: dict[str, object] = {
        "filename": file.filename,
        "url": _link(page, file),
        "hashes": {"sha256": file.sha256},
        "yanked": file.yanked,
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.metadata_sha256:
        # PEP 714: the new key, and for pip before 23.1 the old one.
        entry["core-metadata"] = entry["data-dist-info-metadata"] = {"sha256": file.metadata_sha256}
    if file.size is not None:
        entry["size"] = file.size
    if file.upload_time:
        entry["upload-time"] = file.upload_time
    return entry


def _html_page(page: Page) -> Iterator[str]:
    yield _HEAD.format(version=_HTML_VERSION, title=f"Links for {page.project}")
    for file in page.files:
        attributes = "".join(f' {name}="{escape(value)}"' for name, value in _attributes(file))
        yield f'<a href="{_link(page, file)}#sha256={file.sha256}"{attributes}>{escape(file.filename)}</a><br>\n'
    yield _TAIL


def _attributes(file: File) -> Iterator[tuple[str, str]]:
    if file.requires_python:
        yield "data-requires-python", file.requires_python
    if file.yanked:
        yield "data-yanked", file.yanked if isinstance(file.yanked, str) else ""
    if file.metadata_sha256:
        yield "data-core-metadata", f"sha256={file.metadata_sha256}"
        yield "data-dist-info-metadata", f"sha256={file.metadata_sha256}"
