"""What caches hold is weighed by the bytes that it takes, whatever an upstream sends to make it look small."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from sandboxes.index import budget
from sandboxes.index.errors import UpstreamError
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.lru import Lru
from sandboxes.index.negotiation import Coding, Form
from sandboxes.index.npm.names import order, read
from sandboxes.index.npm.packument import Packument, Release
from sandboxes.index.npm.reading import parse
from sandboxes.index.npm.view import make_view as npm_view
from sandboxes.index.page import LONGEST_URL, MOST_TEXT, File, Page
from sandboxes.index.page_answer import Bodies
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.patterns import parse as pattern
from sandboxes.index.policy.policy import Listed, Policy
from sandboxes.index.projects import Shown
from sandboxes.index.rulebook import Ruling
from sandboxes.index.upstream_json import parse_json
from sandboxes.index.views import Views, make_view
from sandboxes.screening.matching import ProjectAdvisories, Statement

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASE = 65 * 10**6  # bytes that a worker takes before it has answered anything
AIM = 120 * 10**6
ASTRAY = 1.1  # how far the allocator's own count may be beyond ours: lists and dicts grow in steps
TOO_CAREFUL = 5  # times: what is weighed far above what it takes would leave the room unused
EMOJI = "\N{PARTY POPPER}"  # makes each character of its text take four bytes
NOTHING = Policy(deny=tuple(Listed(pattern(name, Ecosystem.PYPI), "no") for name in ("demo",)))
NOTHING_OF_NPM = Policy(deny=(Listed(pattern("demo", Ecosystem.NPM), "no"),))


def taken[T](make: Callable[[], T]) -> tuple[T, int]:
    """What it makes, and the bytes that are still taken then: the least of three, as others may be at work."""
    made = make()  # what is made once and for all, as a decoder, is not counted
    return made, min(_taken_once(make) for _ in range(3))


def _taken_once[T](make: Callable[[], T]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        gc.collect()
        really = tracemalloc.get_traced_memory()[0] - before
        del made
        return really
    finally:
        tracemalloc.stop()


def assert_weighed(weight: int, really: int) -> None:
    assert really <= weight * ASTRAY
    assert weight <= really * TOO_CAREFUL


def name(n: int, version: str) -> str:
    return f"demo-{version}-{n}-py3-none-any.whl"


def file(n: int, **changes: Any) -> File:
    version = f"{n}.0"
    url = f"https://files.example/{n:060x}/{name(n, version)}"
    plain = File(name(n, version), version, f"{n:064x}", url, 10**6 + n)
    stamp = f"2026-01-02T03:04:05.{n + 100_000:06d}Z"
    return msgspec.structs.replace(plain, upload_time=stamp, seen_at=stamp, **changes)


def page(files: int, versions: int = 0, **changes: Any) -> Page:
    return Page(
        "demo", tuple(f"0.{n}" for n in range(versions)), tuple(file(n, **changes) for n in range(files))
    )


PAGES = {
    "one file": page(1),
    "many files": page(3000),
    "many short ones": Page("demo", (), tuple(File("", "", "", "") for _ in range(5000))),
    "only versions": page(0, versions=20_000),
    "reasons of wide characters": page(200, yanked=EMOJI + "a" * (MOST_TEXT - 1)),
    "one endless reason": page(1, yanked="a" * 10_000_000),
    "one endless reason of wide characters": page(1, yanked=EMOJI + "a" * 2_000_000),
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_weighed_by_what_it_takes(kind: str) -> None:
    plain = PAGES[kind].plain()
    made, really = taken(lambda: Page.load(plain))
    assert_weighed(made.weight(plain), really)


async def test_an_endless_page_is_not_kept_and_takes_no_room_from_others() -> None:
    kept: Lru[str, Page] = Lru(budget.PAGES)
    small, endless = page(1), page(1, yanked="a" * budget.PAGES)
    kept.put("small", small, small.weight(small.plain()))
    kept.put("endless", endless, endless.weight(endless.plain()))
    assert (kept.get("small"), kept.get("endless")) == (small, None)


def packument(releases: int, version: str = "{}.0.0", **changes: Any) -> Packument:
    made = (
        Release(version.format(n), f"{n:0128x}", f"https://r.example/{n}.tgz", short='"a":"1"', **changes)
        for n in range(releases)
    )
    return Packument("demo", tuple(made), {})


PACKUMENTS = {
    "one release": packument(1),
    "many releases": packument(3000),
    "many parts of a pre-release": packument(500, "{}.0.0-" + ".".join("a0" for _ in range(30))),
    "many numbers": packument(500, "{}.0.0-" + ".".join("1234567" for _ in range(11))),
    "tags": msgspec.structs.replace(packument(1), tags={f"tag-{n}": "0.0.0" for n in range(2000)}),
    "reasons of wide characters": packument(500, deprecated=EMOJI + "a" * 900),
}


@pytest.mark.parametrize("kind", PACKUMENTS)
def test_a_packument_is_weighed_with_all_that_is_worked_out_of_it(kind: str) -> None:
    document = PACKUMENTS[kind].document()

    def load() -> Packument:
        made = Packument.load(document)
        assert made.ordered
        assert made.replaced
        assert made.find(made.releases[0].version)
        for function in (order, read):  # these are their own, and limited by number
            function.cache_clear()
        return made

    made, really = taken(load)
    assert_weighed(made.weight(document), really)


@pytest.mark.parametrize("changes", [{}, {"yanked": EMOJI + "a" * (MOST_TEXT - 1)}], ids=["plain", "reasons"])
def test_decisions_are_weighed_with_what_is_said_of_them(changes: dict[str, Any]) -> None:
    plain = page(500, **changes).plain()

    def make() -> Any:
        # The page itself goes: what is left of it is what its view holds.
        return make_view(Page.load(plain), NOTHING, Knowledge(), NOW, "https://portal.example")

    view, really = taken(make)
    assert len(view.marks) == 500
    assert_weighed(view.weight, really)


def test_npms_decisions_are_weighed() -> None:
    document = packument(500).document()
    view, really = taken(
        lambda: npm_view(Packument.load(document), NOTHING_OF_NPM, Knowledge(), {}, NOW, "https://p.example")
    )
    order.cache_clear()
    assert len(view.refused) == 500
    assert_weighed(view.weight, really)


async def filled(fill: Callable[[], Awaitable[Any]]) -> int:
    """Bytes that are taken after it, beyond what it holds itself."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await fill()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def test_refused_decisions_fill_their_room_and_no_more() -> None:
    views, policy = Views("https://portal.example"), Ruling(NOTHING, "deny")

    async def fill() -> None:
        for n in range(30):
            await views.of(Shown(page(n + 300), f"page-{n}"), policy, Knowledge(), NOW)

    really = await filled(fill)
    assert budget.VIEWS / TOO_CAREFUL < really <= budget.VIEWS * ASTRAY


async def test_views_of_pages_of_which_all_is_given_fill_their_room_and_no_more() -> None:
    views, policy, shown = Views("https://portal.example"), Ruling(Policy(), "none"), page(1)

    async def fill() -> None:
        for n in range(3000):
            await views.of(Shown(shown, f"{n:064x}"), policy, Knowledge(), NOW)

    assert await filled(fill) <= budget.VIEWS * ASTRAY


@pytest.mark.parametrize("data", [b"", b"a" * 900], ids=["empty", "small"])
async def test_small_bodies_with_long_keys_fill_their_room_and_no_more(data: bytes) -> None:
    room = 1024 * 1024
    bodies = Bodies(room)

    async def fill() -> None:
        for n in range(3000):
            await bodies.get(f"{n:064x}" + "h" * 4000, Form.JSON, Coding.IDENTITY, 1, lambda: bytes(data))

    assert room / TOO_CAREFUL < await filled(fill) <= room * ASTRAY


def test_advisories_are_weighed_with_what_they_remember() -> None:
    def make() -> ProjectAdvisories:
        stated = (
            Statement(
                f"GHSA-{n:04}",
                False,
                None,
                (f"CVE-2026-{n:05}",),
                tuple(f"{n}.{m}" for m in range(50)),
                [[["introduced", "0"], ["fixed", f"{n}.7"]]],
            )
            for n in range(100)
        )
        made = ProjectAdvisories(Ecosystem.PYPI, stated)
        for n in range(2000):
            made.of(f"{n}.3")
        return made

    made, really = taken(make)
    assert_weighed(made.weight, really)
    assert made.weight > ProjectAdvisories(Ecosystem.PYPI, ()).weight


def test_all_parts_together_stay_within_what_a_worker_may_take() -> None:
    assert sum(budget.PARTS) == budget.TOTAL
    assert BASE + budget.TOTAL <= AIM


def entry(**changes: Any) -> dict[str, Any]:
    filename = "demo-1.0-py3-none-any.whl"
    plain = {"filename": filename, "url": f"https://files.example/{filename}", "hashes": {"sha256": "a" * 64}}
    return plain | changes


def page_of(*entries: dict[str, Any], **changes: Any) -> Page:
    document = {"meta": {"api-version": "1.1"}, "files": entries} | changes
    return parse_json("demo", json.dumps(document).encode(), "https://index.example/simple/demo/")


async def test_of_an_endless_reason_its_beginning_is_kept() -> None:
    [only] = (await asyncio.to_thread(page_of, entry(yanked="why " * 2_500_000))).files
    assert isinstance(only.yanked, str)
    assert only.yanked.startswith("why why")
    assert len(only.yanked) <= MOST_TEXT
    said = page_of(entry(), **{"project-status": {"status": "archived", "reason": "b" * 5000}}).status_reason
    assert said == "b" * (MOST_TEXT - 3) + "..."
    assert [each.yanked for each in page_of(entry(yanked="c" * MOST_TEXT)).files] == ["c" * MOST_TEXT]


def test_a_file_whose_endless_requirement_would_have_to_be_cut_is_left_out() -> None:
    """Cut, it could mean another thing, and without it the file would fit every Python."""
    requires = ",".join(f"!=3.{n}.*" for n in range(400))
    assert len(requires) > MOST_TEXT
    other = entry(filename="demo-2.0-py3-none-any.whl", **{"requires-python": requires[:MOST_TEXT]})
    found = page_of(entry(**{"requires-python": requires}), other).files
    assert [(each.version, each.requires_python) for each in found] == [("2.0", requires[:MOST_TEXT])]


def test_endless_addresses_and_versions_are_left_out() -> None:
    start = "https://files.example/"
    for url, count in ((start + "a" * 3000, 1), (start + "a" * LONGEST_URL, 0), (start + "é" * 1000, 0)):
        assert len(page_of(entry(url=url)).files) == count
    [only] = page_of(entry(provenance=start + "a" * LONGEST_URL)).files
    assert only.provenance == ""
    assert page_of(entry(), versions=["1.0", "2" * 256]).versions == ("1.0",)


def test_endless_addresses_of_tarballs_are_left_out() -> None:
    def tarball(url: str) -> dict[str, Any]:
        dist = {"integrity": "sha512-" + "A" * 86 + "==", "tarball": url}
        return {"name": "demo", "version": "1.0.0", "dist": dist}

    for length, count in ((100, 1), (LONGEST_URL, 0)):
        document = {"name": "demo", "versions": {"1.0.0": tarball("https://r.example/" + "a" * length)}}
        made = parse("demo", json.dumps(document).encode(), "https://r.example/demo")
        assert len(made.releases) == count
    with pytest.raises(UpstreamError):
        parse("demo", b"[]", "https://r.example/demo")
