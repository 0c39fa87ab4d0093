"""What a person is told of a version: the decision that the index makes of the same page."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.approvals import waivers as approvals
from portal.approvals import why
from sandboxes.errors import NotFoundError
from sandboxes.index import policy_settings, waivers
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.models import Project
from sandboxes.index.page import Page
from sandboxes.index.policy.facts import Ecosystem, Screening
from sandboxes.index.policy.policy import Policy
from sandboxes.index.policy.rules import Rule
from sandboxes.index.policy_settings import Kind
from sandboxes.index.views import make_view
from sandboxes.index.waivers import About
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import advisories
from sandboxes.screening.models import Verdict
from sandboxes.screening.queries import against
from sandboxes.screening.standing import Standing
from tests.portal.web import world

DAY = timedelta(days=1)


@pytest.fixture
def box(alice: User) -> Sandbox:
    return world.ready(alice)


def explain(box: Sandbox, version: str = "2.0", project: str = "demo") -> why.Explanation:
    reader = why.Reader(timezone.now())
    return reader.explain(About(Ecosystem.PYPI, project, version), why.subject_of(box))


def advise(by: User, project: str, version: str, *, malicious: bool = False) -> None:
    """Malware, or a vulnerability as bad as they come."""
    document: dict[str, Any] = {
        "affected": [{"package": {"ecosystem": "PyPI", "name": project}, "versions": [version]}],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "database_specific": {"malicious": malicious},
    }
    advisories.put(document, by=by)


def test_what_is_too_fresh(box: Sandbox) -> None:
    world.demo()
    found = explain(box)
    assert found.listed
    assert [one.file.filename for one in found.files] == ["demo-2.0-py3-none-any.whl", "demo-2.0.tar.gz"]
    assert (found.given, found.waivable, found.instead) == (False, True, "1.0")
    assert found.needed == [Rule.COOLDOWN]  # the wheel alone would do
    assert [finding.rule for finding in found.findings] == [Rule.COOLDOWN, Rule.SDIST]
    assert found.opens is not None
    assert abs(found.opens - timezone.now() - 6 * DAY) < timedelta(minutes=1)
    assert explain(box, "1.0").given
    assert explain(box, "v1.0.0").given  # another spelling of the same
    assert explain(box, "3.0").files == ()


def test_it_is_what_the_index_decides(box: Sandbox, ada: User) -> None:
    """Of the same page and moment: which files are refused, and until when."""
    files = [world.wheel("demo", f"{number}.0", age=number * DAY) for number in range(1, 12)]
    world.page_of("demo", *files)
    advise(ada, "demo", "9.0")
    Verdict.objects.create(sha256=files[9].sha256, state="held", at=timezone.now())
    now = timezone.now()
    reader = why.Reader(now)
    page = Page.load(bytes(Project.objects.get().document or b""))
    verdicts = {files[9].sha256: Standing({("", "", ""): Screening.HELD})}
    knowledge = Knowledge(None, against(Ecosystem.PYPI, ["demo"])["demo"], verdicts)
    policy = Policy()  # what a new installation has
    view = make_view(page, policy, knowledge, now, "https://portal.example.org")
    told = {}
    for file in page.files:
        [answer] = reader.explain(About(Ecosystem.PYPI, "demo", file.version), why.subject_of(box)).files
        told[file.filename, file.sha256] = answer.decision
    refused = {key: decision for key, decision in told.items() if not decision.allowed}
    assert refused == view.refused
    assert {decision.findings[0].rule for decision in refused.values()} == {
        Rule.COOLDOWN,
        Rule.VULNERABLE,
        Rule.HELD,
    }


def test_a_waiver_opens_it_for_those_it_is_for(box: Sandbox, bob: User, iris: User) -> None:
    world.demo()
    waiver = waivers.decide(world.waiver(box.owner, box).pk, grant=True, by=iris)
    found = explain(box)
    assert found.given
    assert found.waived_by == [waiver.pk]
    assert found.instead == "2.0"
    assert not explain(world.ready(bob)).given


def test_malware_takes_an_admin(box: Sandbox, ada: User) -> None:
    world.page_of("demo", world.wheel("demo", "2.0", age=90 * DAY))
    advise(ada, "demo", "2.0", malicious=True)
    found = explain(box)
    assert (found.waivable, found.needs_admin, found.opens, found.instead) == (True, True, None, "")
    assert found.findings[0].rule == Rule.MALICIOUS


def test_the_file_that_an_approver_can_open_is_the_easiest(box: Sandbox) -> None:
    """The wheel was blocked by a person; the source distribution is but that."""
    wheel = world.wheel("demo", "2.0", age=90 * DAY)
    world.page_of("demo", wheel, world.wheel("demo", "2.0", age=90 * DAY, filename="demo-2.0.tar.gz"))
    Verdict.objects.create(sha256=wheel.sha256, state=Screening.BLOCKED, at=timezone.now())
    found = explain(box)
    assert (found.needed, found.needs_admin) == ([Rule.SDIST], False)


def test_what_will_be_screened_opens_by_itself(alice: User, ada: User) -> None:
    """It asks for no waiver, and is in the way of none."""
    careful = replace(policy_settings.settings_of("python"), screened=True)
    policy_settings.change(profile="python", settings=careful, by=ada, reason="Look first")
    box = world.ready(alice)
    fresh = world.wheel("demo", "2.0", age=DAY)
    world.page_of("demo", world.wheel("demo", "1.0", age=90 * DAY), fresh)
    old, new = explain(box, "1.0"), explain(box)
    assert (old.on_hold, old.waivable, old.needed) == (True, False, [])
    assert (new.on_hold, new.waivable, new.needed) == (False, True, [Rule.COOLDOWN])
    assert new.opens is not None


def test_a_name_of_our_own_has_no_page(box: Sandbox, ada: User) -> None:
    assert not explain(box, project="acme-tool").our_own
    policy_settings.add_entry(
        profile="", ecosystem=Ecosystem.PYPI, kind=Kind.INTERNAL, pattern="acme-*", reason="", by=ada
    )
    found = explain(box, project="acme-tool")
    assert found.our_own
    assert not found.listed
    assert not explain(box).our_own


def test_a_name_that_one_upstream_has_and_that_is_not_there_is_explained_too(box: Sandbox, ada: User) -> None:
    policy_settings.add_entry(
        profile="",
        ecosystem=Ecosystem.PYPI,
        kind=Kind.INTERNAL,
        pattern="acme-*",
        reason="",
        by=ada,
        source="ours",
    )
    assert explain(box, project="acme-tool", version="latest").our_own
    world.page_of("acme-tool", world.wheel("acme_tool", "1.0", age=90 * DAY))
    assert not explain(box, project="acme-tool", version="9.0").our_own


def test_a_profile_is_stricter(alice: User, ada: User, box: Sandbox) -> None:
    world.page_of("demo", world.wheel("demo", "2.0", age=10 * DAY))
    assert explain(box).given
    world.policy_of("python")
    assert not explain(box).given


def test_what_is_taken_instead_is_no_pre_release_and_not_yanked(box: Sandbox) -> None:
    old = 90 * DAY
    files = [
        world.wheel("demo", "1.0", age=old),
        world.wheel("demo", "1.1", age=old, yanked="broken"),
        world.wheel("demo", "1.2rc1", age=old),
        world.wheel("demo", "2.0", age=DAY),
    ]
    world.page_of("demo", *files)
    assert explain(box).instead == "1.0"


@pytest.mark.parametrize(
    ("ecosystem", "project"),
    [("cargo", "demo"), ("pypi", "no such"), ("pypi", "@a/b"), ("npm", "../x"), ("npm", "@a/b/c")],
)
def test_what_can_be_no_package(ecosystem: str, project: str) -> None:
    with pytest.raises(NotFoundError):
        approvals.about(ecosystem, project, "1.0")


def test_names_are_normalised() -> None:
    assert approvals.about("pypi", "Demo_Pack", "1.0").project == "demo-pack"
    assert approvals.about("npm", "@Acme/Tool", "1.0").project == "@Acme/Tool"


def test_npm_by_the_same_rules(alice: User, iris: User, box: Sandbox) -> None:
    world.packument("@acme/tool", {"1.0.0": 90 * DAY, "2.0.0-rc.1": 80 * DAY, "2.0.0": DAY})
    about = About(Ecosystem.NPM, "@acme/tool", "2.0.0")

    def found() -> why.Explanation:
        return why.Reader(timezone.now()).explain(about, why.subject_of(box))

    assert (found().given, found().needed, found().instead) == (False, [Rule.COOLDOWN], "1.0.0")
    assert [one.file.filename for one in found().files] == ["tool-2.0.0.tgz"]
    asked = world.waiver(alice, box, about=about)
    assert not found().given
    waivers.decide(asked.pk, grant=True, by=iris)
    assert (found().given, found().instead) == (True, "2.0.0")


def test_a_tarball_that_screening_held(box: Sandbox) -> None:
    world.packument("left-pad", {"1.0.0": 90 * DAY})
    about = About(Ecosystem.NPM, "left-pad", "1.0.0")
    reader = why.Reader(timezone.now())
    assert reader.explain(about, why.subject_of(box)).given
    world.tarball("left-pad", "1.0.0", "ab" * 32)
    Verdict.objects.create(sha256="ab" * 32, state="held", at=timezone.now())
    later = why.Reader(timezone.now()).explain(about, why.subject_of(box))
    assert later.needed == [Rule.HELD]
