"""The web process: `uvicorn portal.asgi:application`."""

import os
from typing import Final, cast

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope
from django.core.asgi import get_asgi_application

_LARGEST: Final = 1024 * 1024  # bytes: a kubeconfig's text and a receipt are smaller, as forms write them too
_TEXT: Final = b"That is too large.\n"


class Bounded:
    """Answers 413 to a body that is too large. Django writes all of it to disk before it looks at the address."""

    def __init__(self, application: ASGI3Application, largest: int = _LARGEST) -> None:
        self._application = application
        self._largest = largest

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        lengths = (value for name, value in scope["headers"] if name.lower() == b"content-length")
        if any(self._says_too_much(length) for length in lengths):
            await _refuse(send)
            return
        counter = _Counter(receive, self._largest)
        await self._application(scope, counter.receive, send)
        if counter.too_large:  # Django has answered nothing: it begins when it has the whole body
            await _refuse(send)

    def _says_too_much(self, length: bytes) -> bool:
        """Without reading a number of any length; what is no number is found out by counting."""
        digits = length.strip().lstrip(b"0")
        return digits.isdigit() and (len(digits) > len(str(self._largest)) or int(digits) > self._largest)


class _Counter:
    """Nobody says beforehand how long a chunked body is. One that is too large ends like a visitor who left:
    Django then throws away what it has.
    """

    def __init__(self, receive: ASGIReceiveCallable, largest: int) -> None:
        self._receive = receive
        self._left = largest
        self.too_large = False

    async def receive(self) -> ASGIReceiveEvent:
        event = await self._receive()
        if event["type"] == "http.request":
            self._left -= len(event.get("body", b""))
            self.too_large = self._left < 0
        return {"type": "http.disconnect"} if self.too_large else event


async def _refuse(send: ASGISendCallable) -> None:
    """And hangs up, so that the rest is not read either."""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(_TEXT)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": _TEXT, "more_body": False})


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = Bounded(
    cast("ASGI3Application", get_asgi_application())
)  # typed more loosely by Django's stubs
