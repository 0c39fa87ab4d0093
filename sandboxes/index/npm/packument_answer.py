"""Packuments and single manifests as answers, as policy lets `subject` see them."""

from aiohttp import web

from sandboxes.index import budget
from sandboxes.index.errors import UnknownError
from sandboxes.index.negotiation import coding_for
from sandboxes.index.npm import render
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.packuments import Packuments, Shown
from sandboxes.index.npm.render import Form
from sandboxes.index.npm.view import View
from sandboxes.index.page_answer import Bodies, PageAnswer
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.upstreams import Sources


class PackumentAnswers:
    """`index_url`: the index's own, as sandboxes know it; "": as each request names it."""

    def __init__(self, packuments: Packuments, judge: NpmJudge, index_url: str) -> None:
        self._packuments = packuments
        self._judge = judge
        self._index_url = index_url
        self._bodies = Bodies(budget.PACKUMENT_BODIES)

    async def packument(self, request: web.Request, name: str, subject: Subject, only: Sources) -> PageAnswer:
        shown, view = await self._seen(name, subject, only)
        form = render.form_for(", ".join(request.headers.getall("Accept", [])))
        base, packument = self._base(request), shown.packument
        body = await self._bodies.get(
            f"{render.VERSION} {shown.digest} {view.digest} {base}",
            form,
            coding_for(", ".join(request.headers.getall("Accept-Encoding", []))),
            len(packument.releases),
            lambda: render.render(packument, view, form, base),
        )
        return PageAnswer(body, shown.stale, None, view.withheld, view.settled_until)

    async def manifest(
        self, request: web.Request, name: str, wanted: str, subject: Subject, only: Sources
    ) -> PageAnswer:
        """One version, by its number or by a tag. Raises `NotGivenError` for one that policy refuses."""
        shown, view = await self._seen(name, subject, only)
        packument = shown.packument
        release = packument.find(view.tags.get(wanted, wanted))
        if release is None:
            raise UnknownError(f"version not found: {name}@{wanted}")
        if decision := view.refused.get(release.version):
            raise self._judge.refused(name, release.version, decision)
        base = self._base(request)
        body = await self._bodies.get(
            f"{render.VERSION} {shown.digest} {release.version} {base}",
            Form.FULL,
            coding_for(", ".join(request.headers.getall("Accept-Encoding", []))),
            1,
            lambda: render.manifest(packument, release, base),
        )
        withheld = view.withheld if wanted in view.tags else None
        return PageAnswer(body, shown.stale, None, withheld, view.settled_until)

    async def _seen(self, name: str, subject: Subject, only: Sources) -> tuple[Shown, View]:
        shown = await self._packuments.get(name, only)
        return shown, await self._judge.packument(subject, shown)

    def _base(self, request: web.Request) -> str:
        return self._index_url or f"{request.scheme}://{request.host}"
