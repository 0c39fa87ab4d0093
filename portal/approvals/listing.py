"""What the index keeps of a project, as policy wants to know it: from a page of PyPI's, or a packument of npm's."""

from collections.abc import Iterable

from sandboxes.index.candidates import Stated, candidate, debuts, replacements, replaces
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.models import Packument, Project, Tarball
from sandboxes.index.npm import packument, view
from sandboxes.index.page import FORMAT, File, Page
from sandboxes.index.policy.facts import Candidate, Ecosystem
from sandboxes.screening import lookup
from sandboxes.screening.models import Verdict
from sandboxes.screening.queries import against

type Listed = tuple[File, Candidate]


def listing(ecosystem: Ecosystem, project: str, *, screened: bool) -> list[Listed] | None:
    """Every file by its name, with what screening and advisories say; None: there is no page of the project.

    `screened`: whether policy has every file screened first.
    """
    found = _packument(project) if ecosystem is Ecosystem.NPM else _page(project)
    if found is None:
        return None
    knowledge = _knowledge(ecosystem, project, [file.sha256 for _, file in found if file.sha256])
    informed = [
        (about.file, knowledge.informed(file, about.replaces, screened=screened)) for about, file in found
    ]
    return sorted(informed, key=lambda listed: listed[0].filename)


def _page(project: str) -> list[tuple[Stated, Candidate]] | None:
    row = Project.objects.filter(pk=project, format=FORMAT).exclude(document=None).first()
    if row is None or row.document is None:
        return None
    page = Page.load(bytes(row.document))
    before, debut = replacements(page), debuts(page)
    found = [Stated(page.project, file, page.source, replaces(file, before, debut)) for file in page.files]
    return [(about, candidate(about)) for about in found]


def _packument(project: str) -> list[tuple[Stated, Candidate]] | None:
    """A tarball whose bytes the index has is known by them; of the others the packument's word counts."""
    rows = Packument.objects.filter(pk=project, format=packument.FORMAT).exclude(document=None)
    row = rows.first()
    if row is None or row.document is None:
        return None
    kept = packument.Packument.load(bytes(row.document))
    tarballs = Tarball.objects.filter(package=project).order_by("id")
    stored = {tarball.version: view.Stored(tarball.sha256, tarball.size) for tarball in tarballs}
    found = [
        view.stated(kept, release, kept.replaced.get(release.version, ""), stored.get(release.version))
        for release in kept.releases
    ]
    return [(about, view.npm_candidate(about)) for about in found]


def _knowledge(ecosystem: Ecosystem, project: str, hashes: Iterable[str]) -> Knowledge:
    rows = Verdict.objects.filter(sha256__in=list(hashes))
    verdicts = lookup.standings(rows.values("sha256", "ecosystem", "project", "filename", "state"))
    return Knowledge(None, against(ecosystem, [project]).get(project), verdicts)
