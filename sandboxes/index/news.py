"""Verdicts, told to those who wait for one. A hint: whoever waits looks for themselves, told or not."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

CHANNEL: Final = "screening_verdict"  # each notification is a sha256 (`migrations/0007_verdict_news.py`)


class News:
    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def about(self, sha256: str) -> Iterator[asyncio.Event]:
        """Set each time that a verdict on these bytes was written."""
        event = asyncio.Event()
        self._waiting.setdefault(sha256, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[sha256].discard(event)
            if not self._waiting[sha256]:
                del self._waiting[sha256]

    def tell(self, sha256: str) -> None:
        for event in self._waiting.get(sha256, ()):
            event.set()
