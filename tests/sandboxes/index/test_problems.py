import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index.errors import UnavailableError
from sandboxes.index.problems import problem, reason_phrase
from sandboxes.index.projects import Projects
from tests.sandboxes.index.conftest import Index


@given(st.text())
def test_a_reason_phrase_is_one_short_line_of_printable_ascii(text: str) -> None:
    reason = reason_phrase(text)
    assert reason.isascii()
    assert reason.isprintable()
    assert len(reason) <= 200


def test_the_whole_text_is_in_the_body() -> None:
    text = "Nö: " + "x" * 300
    answer = problem(UnavailableError(text))
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {
        "title": "Service Unavailable",
        "status": 503,
        "detail": text,
        "code": "unavailable",
    }
    assert answer.reason == reason_phrase(text)


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/elsewhere", "GET", 404), ("/simple/", "POST", 405)]
)
async def test_the_routers_own_refusals_are_problems_too(
    index: Index, path: str, method: str, status: int
) -> None:
    reply = await index.ask(path, method)
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/problem+json"


async def test_what_nobody_foresaw_is_recorded_and_answered_without_details(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Projects, "arrival", broken)
    reply = await index.ask("/simple/demo/")
    assert (reply.status, reply.reason) == (500, "The index failed; its log says why.")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert b"secret" not in reply.body
    [fetch] = await index.rows("SELECT project FROM usage_fetch")
    assert fetch["project"] == "demo"
