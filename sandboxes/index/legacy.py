"""A page as mirrors still ask for it: `/pypi/PROJECT/json`, the JSON that is older than PEP 691 (bandersnatch). Pure.

A mirror takes every file that is listed, and gives a project up when one is not given. So files that policy refuses
are not listed at all, as with npm.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

import msgspec
from aiohttp import web
from packaging.version import Version

from sandboxes.index.page import File, Page
from sandboxes.index.page_answer import PageAnswer
from sandboxes.index.render import Marks, own_words
from sandboxes.index.withheld import Withheld

# A mirror wants to see a number that rises with each change. We have none, and no list by which it could skip a page.
_SERIAL: Final = 1


class Legacy(StrEnum):
    JSON = "application/json"

    @property
    def content_type(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class LegacyAnswer:
    page: PageAnswer
    received: None = None

    @property
    def withheld(self) -> Withheld | None:
        return self.page.withheld

    async def send(self, request: web.Request) -> web.StreamResponse:
        response = await self.page.send(request)
        response.headers["X-PyPI-Last-Serial"] = str(_SERIAL)
        return response


def render_legacy(page: Page, marks: Marks, base: str) -> bytes:
    """`base`: the index's own URL. A mirror keeps only paths that begin with `/packages`."""
    given = [file for file in page.files if (file.filename, file.sha256) not in marks]
    releases: dict[str, list[dict[str, Any]]] = {file.version: [] for file in given}
    for file in given:
        releases[file.version].append(_file(page.project, file, base))
    newest = _newest(releases)
    document = {
        "info": {"name": page.project, "version": newest, "yanked": False, "yanked_reason": None},
        "last_serial": _SERIAL,
        "releases": releases,
        "urls": releases.get(newest, []),
    }
    return msgspec.json.encode(document)


def _newest(versions: Iterable[str]) -> str:
    """No pre-release unless there is nothing else; "" when there is nothing."""
    return max(versions, key=lambda text: (not Version(text).is_prerelease, Version(text)), default="")


def _file(project: str, file: File, base: str) -> dict[str, Any]:
    wheel = file.filename.endswith(".whl")
    return {
        "filename": file.filename,
        "url": f"{base}/packages/{project}/{file.sha256}/{quote(file.filename)}",
        "digests": {"sha256": file.sha256},
        "size": file.size,
        "upload_time_iso_8601": file.upload_time or file.seen_at,
        "packagetype": "bdist_wheel" if wheel else "sdist",
        "python_version": file.filename.removesuffix(".whl").split("-")[-3] if wheel else "source",
        "requires_python": file.requires_python or None,
        "yanked": file.yanked is not False,
        "yanked_reason": own_words(file.yanked, "yanked") if isinstance(file.yanked, str) else None,
        "core-metadata": {"sha256": file.metadata_sha256} if file.metadata_sha256 else False,
    }
