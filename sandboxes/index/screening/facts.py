"""What the index knows of a file beside its bytes, from its page. Of a page of thousands this is work for a thread."""

import asyncio
from typing import Final

from sandboxes.index.candidates import Stated, replacements
from sandboxes.index.npm.names import filename_of
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.page import File, Page
from sandboxes.screening.package import Facts
from sandboxes.screening.words import Ecosystem

_IN_PLACE: Final = 200  # files or versions


async def of_file(page: Page, file: File) -> Facts:
    if len(page.files) > _IN_PLACE:
        return await asyncio.to_thread(_of_file, page, file)
    return _of_file(page, file)


async def of_release(packument: Packument, release: Release) -> Facts:
    if len(packument.releases) > _IN_PLACE:
        return await asyncio.to_thread(_of_release, packument, release)
    return _of_release(packument, release)


def of_stated(stated: Stated, ecosystem: Ecosystem) -> Facts:
    """Of a file whose page is not at hand."""
    file = stated.file
    return Facts(
        filename=file.filename,
        ecosystem=ecosystem.value,
        project=stated.project,
        version=file.version,
        uploaded_at=file.upload_time or "",
        requires_python=file.requires_python,
        provenance=bool(file.provenance),
        former_version=stated.replaces,
    )


def _of_file(page: Page, file: File) -> Facts:
    former = replacements(page).get(file.version, "")
    return Facts(
        filename=file.filename,
        ecosystem=Ecosystem.PYPI.value,
        project=page.project,
        version=file.version,
        uploaded_at=file.upload_time or "",
        project_since=min((each.upload_time for each in page.files if each.upload_time), default=""),
        requires_python=file.requires_python,
        provenance=bool(file.provenance),
        former_version=former,
        former_provenance=any(each.provenance for each in page.files if former and each.version == former),
        releases=len({each.version for each in page.files}),
    )


def _of_release(packument: Packument, release: Release) -> Facts:
    former = packument.find(packument.replaced.get(release.version, "")) or Release("", "", "")
    published = (each.published for each in packument.releases if each.published)
    return Facts(
        filename=filename_of(packument.name, release.version),
        ecosystem=Ecosystem.NPM.value,
        project=packument.name,
        version=release.version,
        uploaded_at=release.published or "",
        project_since=min(published, default=packument.created),
        provenance=release.attested,
        former_version=former.version,
        former_provenance=former.attested,
        releases=len(packument.releases),
        signed=release.signed,
        former_signed=former.signed,
        publisher=release.publisher,
        former_publisher=former.publisher,
        trusted=release.trusted,
        maintainers=tuple(sorted(release.maintainers)),
        former_maintainers=tuple(sorted(former.maintainers)),
    )
