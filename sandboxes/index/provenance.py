"""Where a file comes from, as its upstream attests it (PEP 740): fetched for the sandbox, which reaches no upstream.

Nothing is verified here: that is for the client, who trusts nobody on the way. The objects may change while
the file stays (a PEP 740 index may add to them), so they are asked for each time, and kept only shortly.
"""

import json
from dataclasses import dataclass
from time import monotonic

from aiohttp import web

from sandboxes.index import budget, weights
from sandboxes.index.candidates import on_page
from sandboxes.index.errors import UnavailableError, UnknownError, UpstreamError
from sandboxes.index.files import Wanted
from sandboxes.index.judge import Judge
from sandboxes.index.lru import Lru
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.projects import Projects
from sandboxes.index.upstreams import Upstreams

CONTENT_TYPE = "application/vnd.pypi.integrity.v1+json"
SUFFIX = ".provenance"  # of the file's name, where what was asked for is written down
_KEPT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class ProvenanceAnswer:
    body: bytes
    received: None = None
    withheld: None = None

    async def send(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "max-age=0, must-revalidate"}
        return web.Response(body=self.body, headers=headers)


class Provenances:
    def __init__(self, projects: Projects, judge: Judge, upstream: Upstreams) -> None:
        self._projects = projects
        self._judge = judge
        self._upstream = upstream
        # By upstream too: another one may have fetched the same URL with credentials of its own.
        self._kept: Lru[tuple[str, str], tuple[float, bytes]] = Lru(budget.PROVENANCE)

    async def of(self, subject: Subject, wanted: Wanted) -> ProvenanceAnswer:
        """Decided as the file itself is; only a file on its project's page has any."""
        only = await self._judge.sources(subject, wanted.project)
        page = (await self._projects.page(wanted.project, only)).page
        file = page.find(wanted.filename, wanted.sha256)
        if file is None or not file.provenance:
            raise UnknownError(f"The upstream index has no provenance of {wanted.filename}.")
        if not await self._judge.check(subject, on_page(page, file)):
            raise UnavailableError(f"{file.filename} is being screened; try again.")
        return ProvenanceAnswer(await self._body(file.provenance, f"{file.filename}{SUFFIX}", page.source))

    async def _body(self, url: str, what: str, source: str) -> bytes:
        kept = self._kept.get((source, url))
        if kept is not None and monotonic() < kept[0]:
            return kept[1]
        body = await self._upstream.document(url, what, source)
        if not _is_object(body):
            raise UpstreamError(f"The upstream's {what} is no provenance object.")
        self._kept.put((source, url), (monotonic() + _KEPT, body), len(body) + len(url) + weights.ENTRY)
        return body


def _is_object(body: bytes) -> bool:
    """PEP 740: a JSON object whose version is 1."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("version") == 1
