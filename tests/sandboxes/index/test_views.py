"""Pages as one policy sees them: pure, but for the cache."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from sandboxes.index import views as views_module
from sandboxes.index.candidates import replacements
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.negotiation import Form
from sandboxes.index.page import File, Page, make_page
from sandboxes.index.policy.facts import Ecosystem, Screening
from sandboxes.index.policy.patterns import parse
from sandboxes.index.policy.policy import Listed, Policy
from sandboxes.index.policy.waivers import Scope, Waiver
from sandboxes.index.projects import Shown
from sandboxes.index.render import render_page
from sandboxes.index.rulebook import Ruling
from sandboxes.index.sightings import sighted, stamp
from sandboxes.index.upstream_html import parse_html
from sandboxes.index.views import View, Views, make_view
from sandboxes.index.withheld import Withheld
from sandboxes.screening import words
from sandboxes.screening.matching import ProjectAdvisories, Statement
from sandboxes.screening.standing import Standing

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PORTAL = "https://portal.example"


def file(version: str, age: timedelta = 300 * DAY, *, sdist: bool = False, **changes: Any) -> File:
    name = f"demo-{version}.tar.gz" if sdist else f"demo-{version}-py3-none-any.whl"
    plain = File(name, version, name.encode().hex()[:64].ljust(64, "0"), f"https://files.example/{name}", 100)
    return replace(plain, upload_time=stamp(NOW - age), seen_at=stamp(NOW - age), **changes)


def page(*files: File) -> Page:
    return replace(make_page("demo", files), source="default")


def view(*files: File, policy: Policy | None = None, knowledge: Knowledge | None = None) -> View:
    return make_view(page(*files), policy or Policy(), knowledge or Knowledge(), NOW, PORTAL)


def test_old_wheels_are_given_and_the_view_is_that_of_no_policy() -> None:
    seen = view(file("1.0"), file("2.0"))
    assert (seen.refused, seen.marks, seen.digest, seen.settled_until, seen.withheld) == (
        {},
        {},
        "",
        None,
        None,
    )


def test_a_fresh_file_is_marked_until_it_opens() -> None:
    fresh = file("2.0", DAY)
    seen = view(file("1.0"), fresh)
    assert seen.marks == {
        (fresh.filename, fresh.sha256): (
            "[cooldown] released 2026-11-19, too fresh to be given; opens 2026-11-26 12:00 UTC; "
            "why https://portal.example/why/pypi/demo/2.0/"
        )
    }
    assert seen.settled_until == NOW + 6 * DAY
    assert seen.withheld == Withheld("2.0", "cooldown")


@pytest.mark.parametrize("form", Form)
def test_marks_are_in_both_forms_and_the_projects_own_reasons_too(form: Form) -> None:
    files = file("1.0", yanked="broken"), file("2.0", DAY, yanked="worse"), file("3.0", DAY), file("0.9")
    shown = page(*files)
    body = render_page(shown, form, make_view(shown, Policy(), Knowledge(), NOW, PORTAL).marks)
    read = _yanked(body, form)
    assert read["1.0"] == "broken"
    assert read["2.0"].startswith("[cooldown] ")
    assert read["2.0"].endswith("/why/pypi/demo/2.0/ ; yanked by its own project: worse")
    assert read["3.0"].endswith("/why/pypi/demo/3.0/")
    assert read["0.9"] is False


def _yanked(body: bytes, form: Form) -> dict[str, Any]:
    if form is Form.JSON:
        return {each["filename"].split("-")[1]: each["yanked"] for each in json.loads(body)["files"]}
    found = parse_html("demo", body, "https://index.example/simple/demo/")
    return {each.version: each.yanked for each in found.files}


def test_what_is_on_hold_is_no_mark() -> None:
    held = file("1.0")
    seen = view(held, policy=Policy(screened=True))
    assert (seen.marks, list(seen.refused)) == ({}, [(held.filename, held.sha256)])


WITHHELD: list[tuple[str, list[File], Withheld | None]] = [
    ("an sdist beside a wheel", [file("1.0"), file("1.0", sdist=True)], None),
    ("an sdist alone", [file("1.0"), file("2.0", sdist=True)], Withheld("2.0", "sdist")),
    ("an older version", [file("1.0", DAY), file("2.0")], None),
    ("a pre-release", [file("1.0"), file("2.0rc1", DAY)], None),
    ("yanked by its project", [file("1.0"), file("2.0", DAY, yanked=True)], None),
    ("below a pre-release", [file("1.0"), file("2.0", DAY), file("3.0rc1")], Withheld("2.0", "cooldown")),
    (
        "below what its project yanked",
        [file("1.0"), file("2.0", DAY), file("3.0", yanked=True)],
        Withheld("2.0", "cooldown"),
    ),
    ("all there is", [file("2.0", DAY)], Withheld("2.0", "cooldown")),
    ("several", [file("1.0"), file("1.9", DAY), file("1.10", DAY)], Withheld("1.10", "cooldown")),
]


@pytest.mark.parametrize(("files", "withheld"), [case[1:] for case in WITHHELD], ids=[c[0] for c in WITHHELD])
def test_what_a_client_would_have_taken(files: list[File], withheld: Withheld | None) -> None:
    assert view(*files).withheld == withheld


def test_replacements() -> None:
    found = replacements(page(*(file(version) for version in ("1.0", "1.1rc1", "1.1", "2.0", "1.0.5"))))
    assert found == {"1.0": "", "1.0.5": "1.0", "1.1rc1": "1.0.5", "1.1": "1.0.5", "2.0": "1.1"}


def _advised(**changes: Any) -> Knowledge:
    plain = Statement(
        "PYSEC-1", False, words.Severity.CRITICAL, (), [], [[["introduced", "0"], ["fixed", "2.0"]]]
    )
    return Knowledge(1, ProjectAdvisories(words.Ecosystem.PYPI, [dataclasses.replace(plain, **changes)]))


def test_a_fix_does_not_wait_and_what_it_fixes_is_refused() -> None:
    old, fix, later = file("1.0"), file("2.0", DAY), file("3.0", DAY)
    seen = view(old, fix, later, knowledge=_advised())
    rules = {name: [each.rule.value for each in found.findings] for (name, _), found in seen.refused.items()}
    assert rules == {old.filename: ["vulnerable"], later.filename: ["cooldown"]}


def test_a_file_that_comes_late_to_an_old_fix_waits_like_any_other() -> None:
    """Who has a stolen account may add to the release that once mended something."""
    old, fix = file("1.0"), file("2.0")
    late = replace(file("2.0", DAY), filename="demo-2.0-1-py3-none-any.whl", sha256="f" * 64)
    seen = view(old, fix, late, knowledge=_advised())
    rules = {name: [each.rule.value for each in found.findings] for (name, _), found in seen.refused.items()}
    assert rules == {old.filename: ["vulnerable"], late.filename: ["cooldown"]}


def test_malware_that_only_a_range_names_has_to_be_looked_at() -> None:
    knowledge = _advised(id="MAL-1", malicious=True, versions=["1"], ranges=[[["introduced", "0"]]])
    seen = view(file("1.0"), file("2.0"), knowledge=knowledge)
    rules = [found.findings[0].rule.value for found in seen.refused.values()]
    assert rules == ["malicious", "held"]


def test_verdicts_are_of_bytes() -> None:
    one, other = file("1.0"), file("2.0")
    seen = view(
        one, other, knowledge=Knowledge(1, None, {one.sha256: Standing({("", "", ""): Screening.BLOCKED})})
    )
    assert list(seen.refused) == [(one.filename, one.sha256)]


def test_long_lists_of_others_change_nothing() -> None:
    listed = tuple(Listed(parse(f"other-{n}", Ecosystem.PYPI)) for n in range(100))
    policy = Policy(deny=(*listed, Listed(parse("demo>=2", Ecosystem.PYPI), "no")), within=(listed,))
    narrowed = policy.about("demo")
    assert ([str(each.pattern) for each in narrowed.deny], narrowed.within) == (["demo>=2"], ((),))
    seen = view(file("1.0"), file("2.0"), policy=policy)
    rules = [[each.rule.value for each in found.findings] for found in seen.refused.values()]
    assert rules == [["not-allowed"], ["denied", "not-allowed"]]


async def test_kept_while_settled_and_made_anew_after(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[datetime] = []

    def counting(*arguments: Any) -> View:
        made.append(arguments[3])
        return make_view(*arguments)

    monkeypatch.setattr(views_module, "make_view", counting)
    shown = Shown(page(file("2.0", DAY)), "digest")
    views, ruling, knowledge = Views(PORTAL), Ruling(Policy(), "key"), Knowledge()
    for moment in (NOW, NOW + 5 * DAY, NOW + 6 * DAY, NOW + 60 * DAY):
        seen = await views.of(shown, ruling, knowledge, moment)
        assert bool(seen.marks) is (moment < NOW + 6 * DAY)
    assert made == [NOW, NOW + 6 * DAY]


@pytest.mark.parametrize("part", ["page", "ruling", "knowledge"])
async def test_another_page_policy_or_knowledge_is_another_view(part: str) -> None:
    fresh = page(file("2.0", DAY))
    views = Views(PORTAL)
    await views.of(Shown(fresh, "digest"), Ruling(Policy(), "key"), Knowledge(), NOW)
    waiver = Waiver(1, "cooldown", Ecosystem.PYPI, "demo", "", Scope.ALL, "", NOW + DAY)
    ruling = Ruling(Policy(waivers=(waiver,)), "other" if part == "ruling" else "key")
    shown = Shown(fresh, "other" if part == "page" else "digest")
    again = await views.of(shown, ruling, Knowledge("other" if part == "knowledge" else None), NOW)
    assert (again.marks, again.settled_until) == ({}, NOW + DAY)


async def test_a_large_page_does_not_keep_the_others_waiting() -> None:
    """It is decided in a thread, to the same end."""
    large = page(*(file(f"1.{n}") for n in range(500)), file("2.0", DAY))
    seen = await Views(PORTAL).of(Shown(large, "digest"), Ruling(Policy(), "key"), Knowledge(), NOW)
    assert seen == make_view(large, Policy(), Knowledge(), NOW, PORTAL)


def test_sightings_are_carried_and_new_files_were_absent() -> None:
    first = sighted(page(file("1.0")), NOW - 30 * DAY, None, None)
    assert [(each.seen_at, each.absent_at) for each in first.files] == [(stamp(NOW - 30 * DAY), "")]
    second = sighted(page(file("1.0"), file("2.0")), NOW, first, NOW - DAY)
    assert second.files[0] == first.files[0]
    assert (second.files[1].seen_at, second.files[1].absent_at) == (stamp(NOW), stamp(NOW - DAY))


def test_a_file_that_claims_to_be_old_and_was_not_there_yesterday_waits() -> None:
    before = sighted(page(file("1.0")), NOW - 30 * DAY, None, None)
    later = sighted(page(file("1.0"), file("2.0", 300 * DAY)), NOW, before, NOW - DAY)
    seen = make_view(later, Policy(), Knowledge(), NOW, PORTAL)
    assert [name.split("-")[1] for name, _ in seen.refused] == ["2.0"]


@pytest.mark.parametrize(
    "changes",
    [
        {"upload_time": None},
        {"upload_time": None, "seen_at": ""},
        {"upload_time": "9999-12-31T23:59:59Z"},
    ],
)
def test_what_nobody_dates_waits_from_first_sight(changes: dict[str, Any]) -> None:
    dated = {"seen_at": stamp(NOW)} | changes
    seen = view(replace(file("1.0"), **dated))
    assert [found.findings[0].rule.value for found in seen.refused.values()] == ["cooldown"]
