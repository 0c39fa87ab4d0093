"""What the tests of whole journeys share: a local upstream, and people who speak to the API."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from tests.petridish import Petridish
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import make_wheel

TRIAL = {
    "profile": "python",
    "purpose": "See whether demo helps",
    "tools": ["demo", "neverused"],
    "duration": "PT10M",
    "data_class": "public",
    "answers": {"why": "It was asked for"},
}


@contextmanager
def local_upstream() -> Iterator[UpstreamServer]:
    """An upstream index on loopback, in a thread of its own."""
    server, loop = UpstreamServer(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    server.add(
        "demo", make_wheel("demo", "1.0", requires="helper"), make_wheel("demo", "2.0", requires="helper")
    )
    server.add("helper", make_wheel("helper", "0.1"))
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Person:
    """Somebody with their own API token."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str) -> Any:
        answer = self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int | None = None) -> Any:
        answer = self._http.post(path, json=body if body is not None else {})
        assert answer.status_code == status if status else answer.is_success, answer.text
        return answer.json()

    def text(self, path: str) -> str:
        answer = self._http.get(path)
        assert answer.status_code == 200
        return answer.text

    def until(self, path: str, holds: Callable[[Any], bool], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self.get(path)
            except httpx.TransportError:  # the web process was just killed
                found = None
            if found is not None and holds(found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def sandbox_ready(self, sandbox_id: int) -> Any:
        return self.until(f"/sandboxes/{sandbox_id}", lambda sandbox: sandbox["phase"] == "ready")

    def sandbox_over(self, sandbox_id: int) -> Any:
        return self.until(f"/sandboxes/{sandbox_id}", lambda sandbox: sandbox["phase"] == "ended")


@contextmanager
def people(portal: Petridish) -> Iterator[Callable[[str], Person]]:
    """The demo people by name, each with their own token."""
    with ExitStack() as stack:

        def named(username: str) -> Person:
            headers = {"Authorization": f"Bearer {portal.login(username)['token']}"}
            http = httpx.Client(base_url=f"{portal.url}/api/v1", headers=headers, timeout=30)
            return Person(stack.enter_context(http))

        yield named
