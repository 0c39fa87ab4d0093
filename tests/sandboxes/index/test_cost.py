"""A page of thousands of files: read, decided, rendered and packed once, however many ask."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sandboxes.index import answers, page_answer, upstream, views
from sandboxes.index.config import source
from sandboxes.index.negotiation import Coding
from sandboxes.index.page import Page
from sandboxes.index.render import render_page
from sandboxes.index.upstream_json import parse_json
from tests.sandboxes.index.conftest import Index, another_process, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package

FILES = 10_000
FORMS = ("application/vnd.pypi.simple.v1+json", "text/html")
CODINGS = ("gzip", "zstd")  # what every client accepts one of
EACH = len(FORMS) * len(CODINGS)
# What one page costs, whoever asks for it and however often.
ONCE = {
    "parsed": 1,
    "decided": 1,
    "rendered": EACH,
    "gzip": len(FORMS),
    "zstd": len(FORMS),
}


class Done(list[str]):
    """Each piece of work that was done; it is done all the same. Threads add to it too."""

    def counting[**P, T](self, name: str, work: Callable[P, T]) -> Callable[P, T]:
        def counts(*arguments: P.args, **named: P.kwargs) -> T:
            self.append(name)
            return work(*arguments, **named)

        return counts

    def times(self) -> dict[str, int]:
        return dict(Counter(self))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Done:
    done, pack = Done(), page_answer._packed

    def packed(data: bytes, coding: Coding) -> bytes:
        done.append(coding.value)
        return pack(data, coding)

    monkeypatch.setattr(upstream, "parse_json", done.counting("parsed", parse_json))
    monkeypatch.setattr(views, "make_view", done.counting("decided", views.make_view))
    monkeypatch.setattr(answers, "render_page", done.counting("rendered", render_page))
    monkeypatch.setattr(Page, "load", done.counting("loaded", Page.load))
    monkeypatch.setattr(page_answer, "_packed", packed)
    return done


def package(number: int) -> Package:
    """With a metadata file, so that nobody has to look into it."""
    return Package(f"huge-1.{number}-py3-none-any.whl", f"never read {number}".encode(), b"Name: huge\n")


@pytest.fixture
def huge(upstream: UpstreamServer) -> None:
    upstream.add("huge", *map(package, range(FILES)))


async def ask_often(index: Index, *others: str) -> None:
    """Each form in each coding, three times, of the sandbox and of `others`, by their `Authorization`."""
    replies = await asyncio.gather(
        *(
            index.ask("/simple/huge/", Accept=form, Accept_Encoding=coding, Authorization=auth)
            for auth in (index.auth, *others)
            for form in FORMS
            for coding in CODINGS
            for _ in range(3)
        )
    )
    assert {reply.status for reply in replies} == {200}
    assert {reply.headers["Content-Encoding"] for reply in replies} == set(CODINGS)


async def refused(index: Index, number: int) -> bool:
    return (await index.ask(path_of(package(number), "huge"), "HEAD")).status == 403


async def test_each_piece_of_work_is_done_once(
    index: Index, neighbour: str, upstream: UpstreamServer, huge: None, done: Done
) -> None:
    await ask_often(index)
    assert done.times() == ONCE
    await ask_often(index, neighbour)  # another sandbox of the same profile
    await index.expire_pages()
    await ask_often(index, neighbour)  # the upstream says that nothing changed
    assert upstream.asked["/simple/huge/"] == 2
    assert done.times() == ONCE


async def test_again_when_policy_or_the_page_changes(
    index: Index, upstream: UpstreamServer, huge: None, done: Done
) -> None:
    await ask_often(index)
    done.clear()
    await index.rows(
        "INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source)"
        " VALUES ('', 'pypi', 'deny', 'huge==1.7', '', '')"
    )
    await until(lambda: refused(index, 7))
    await ask_often(index)
    await ask_often(index)
    assert done.times() == {name: times for name, times in ONCE.items() if name != "parsed"}
    done.clear()
    upstream.add("huge", package(FILES))
    await index.expire_pages()
    await ask_often(index)
    await ask_often(index)
    assert done.times() == ONCE


async def test_a_process_that_starts_reads_what_is_kept_once(
    index: Index, neighbour: str, upstream: UpstreamServer, huge: None, done: Done
) -> None:
    await ask_often(index)
    done.clear()
    async with another_process(index, source("INDEX_UPSTREAM", upstream.url)) as other:
        await ask_often(other, neighbour)
        await ask_often(other, neighbour)
    assert upstream.asked["/simple/huge/"] == 1
    expected: dict[str, Any] = ONCE | {"loaded": 1}
    del expected["parsed"]
    assert done.times() == expected
