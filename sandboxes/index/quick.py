"""Pages asked for again with the very same bytes are answered with the very same bytes.

Clients repeat themselves: the same head, byte for byte, for the same page. For such a head the finished
answer is kept for moments, found by the head itself, and written without parsing, routing, deciding or
rendering anything anew. It is given only while all that it rests on is known to hold: who asked (at most
as long as `identity.py` knows them), the edition of policy, the page's view, and that it can be counted (`tally.py`).
Everything else goes the ordinary way (`gate.py`), which is also what puts answers here.
"""

from dataclasses import dataclass
from email.utils import formatdate
from time import monotonic

from aiohttp import web

from sandboxes.index import budget
from sandboxes.index.book import Book, Edition
from sandboxes.index.identity import RENEWAL
from sandboxes.index.lru import Lru
from sandboxes.index.tally import Repeated, Tally

_OVERHEAD = 1_500  # bytes that an entry takes besides its head and its answer
_WRITTEN = ("Date", "Content-Length", "Server")  # by `_written` itself, or not at all
_END = b"\r\n\r\n"


@dataclass(slots=True)
class _Kept:
    answer: bytes
    page: Repeated
    edition: Edition
    renew_at: float  # on `monotonic`'s clock: the first who comes then goes the ordinary way, for all
    until: float


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer rests on."""

    edition: Edition | None
    until: float  # on `monotonic`'s clock


class Quick:
    def __init__(self, book: Book, tally: Tally) -> None:
        self._book = book
        self._tally = tally
        self._kept: Lru[bytes, _Kept] = Lru(budget.QUICK)
        self._edition: Edition | None = None  # of all that is kept
        self._closed = False

    def close(self) -> None:
        """From now on everything goes the ordinary way."""
        self._closed = True
        self._kept = Lru(budget.QUICK)

    def answer(self, head: bytes) -> bytes | None:
        """The whole answer, counted; None: ask the ordinary way."""
        kept = self._kept.get(head)
        if kept is None:
            return None
        now = monotonic()
        if now >= kept.until or kept.edition is not self._book.confirmed:
            self._kept.drop(head)
            return None
        if now >= kept.renew_at:
            kept.renew_at = kept.until
            return None
        return kept.answer if self._tally.count(kept.page) else None

    @property
    def edition(self) -> Edition | None:
        """What decisions rest on now; asked before an answer is made, and given to `remember` after."""
        return self._book.confirmed

    def remember(
        self, request: web.Request, response: web.StreamResponse, page: Repeated, basis: Basis
    ) -> None:
        """After the ordinary way made `response` and recorded it."""
        head = getattr(request.protocol, "head", b"")
        # Policy that changed while the answer was made may have been asked before or after.
        if self._closed or not head or basis.edition is None or basis.edition is not self._book.confirmed:
            return
        if not isinstance(response, web.Response) or not _repeatable(request, response):
            return
        if (
            basis.edition is not self._edition
        ):  # what is of older ones is never given, and would keep those in memory
            self._edition, self._kept = basis.edition, Lru(budget.QUICK)
        answer = _written(response)
        kept = _Kept(answer, page, basis.edition, basis.until - RENEWAL, basis.until)
        self._kept.put(head, kept, 2 * len(head) + len(answer) + _OVERHEAD)  # the client is of the head


def _repeatable(request: web.Request, response: web.Response) -> bool:
    return (
        request.method == "GET"
        and response.status in (200, 304)
        and not request.body_exists
        and request.keep_alive
        and isinstance(response.body, bytes | None)
    )


def _written(response: web.Response) -> bytes:
    body = response.body if isinstance(response.body, bytes) and response.status != 304 else b""
    lines = [f"HTTP/1.1 {response.status} {response.reason}", f"Date: {formatdate(usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name not in _WRITTEN]
    if response.status != 304:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + _END + body
