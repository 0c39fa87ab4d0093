"""A file from an https URL into a temporary file, within limits of size and time.

The platform's proxy settings and certificates hold (HTTPS_PROXY, SSL_CERT_FILE). A redirect may lead
to another host, and never off https. No address is asked that a person with the right to import did
not name, so private ones are allowed: a company may keep the feed inside.
"""

import base64
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException, HTTPResponse
from typing import IO, Final

from sandboxes.errors import InvalidInputError, TemporaryError

MOST = 1024 * 1024 * 1024  # bytes; the largest ecosystem's dump has about a quarter of that
LONGEST = 900.0  # seconds for all of it
_IDLE: Final = 30.0  # seconds without a byte
_CHUNK: Final = 1024 * 1024


@contextmanager
def download(url: str) -> Iterator[IO[bytes]]:
    """The file, at its beginning; it is gone afterwards. Raises `InvalidInputError`, `TemporaryError`."""
    request = _request(url)
    with tempfile.TemporaryFile(prefix="petridish-feed-") as file:
        try:
            with _opener().open(request, timeout=_IDLE) as response:
                _copy(response, file, time.monotonic() + LONGEST)
        except urllib.error.HTTPError as error:
            error.close()
            raise _refused(error.code) from error
        except (OSError, HTTPException) as error:
            raise TemporaryError(f"The feed cannot be fetched: {_said(error)}.") from error
        file.seek(0)
        yield file


def _request(url: str) -> urllib.request.Request:
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInputError("That is no URL.") from error
    if parts.scheme != "https" or not host:
        raise InvalidInputError("A feed is fetched from an https:// URL only.")
    place = f"[{host}]" if ":" in host else host
    bare = parts._replace(netloc=place if port is None else f"{place}:{port}", fragment="")
    headers = {"User-Agent": "petridish", "Accept-Encoding": "identity"}
    request = urllib.request.Request(bare.geturl(), headers=headers)  # noqa: S310  https, as was just checked
    if parts.username:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        # Not sent along when a redirect leads elsewhere.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    return request


def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _HttpsOnly())


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith("https://"):
            raise InvalidInputError("The feed redirects to something that is not https.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _copy(response: HTTPResponse, file: IO[bytes], end: float) -> None:
    size = 0
    while chunk := response.read1(_CHUNK):  # what is there: a slow drip must not outlast the clock
        size += len(chunk)
        if size > MOST:
            raise InvalidInputError(f"The feed is larger than {MOST // _CHUNK} MiB.")
        if time.monotonic() > end:
            raise TemporaryError(f"The feed takes longer than {LONGEST:.0f} s.")
        file.write(chunk)
    promised = response.headers.get("Content-Length", "")
    if promised.isdigit() and size != int(promised):  # read1 does not mind a connection that was cut
        raise TemporaryError("The feed's server broke off in the middle.")


def _refused(status: int) -> InvalidInputError | TemporaryError:
    said = f"The feed's server answers {status}."
    return TemporaryError(said) if status >= 500 or status in (408, 429) else InvalidInputError(said)


def _said(error: Exception) -> str:
    """What went wrong, without the URL, which may carry credentials."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(inner) or type(inner).__name__
