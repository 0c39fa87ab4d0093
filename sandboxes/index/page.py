"""A project's page as the index keeps it: one model, from which HTML and JSON are rendered.

Upstream answers become a `Page` (`upstream_json.py`, `upstream_html.py`); only
what can be verified later is taken over: a file without a sha256 cannot, and
is not listed. Nor is a file whose name is not the project's: rules and
advisories go by project, and must not be got around by another's page.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence, Sized
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from sandboxes.index import weights
from sandboxes.index.errors import UpstreamError
from sandboxes.index.names import canonical, is_filename, is_sha256, release_of
from sandboxes.index.packing import packed, unpacked

logger = logging.getLogger(__name__)

FORMAT = 3  # of `Page.document`; raise it when fields change their meaning
MOST_FILES = 50_000  # of one page, and as many versions
# What pages say at length stays in memory, in the database and in every answer. Reasons are for people, who read no
# more than that of them; what is longer of the others is no name, address or requirement, but meant to be in the way.
MOST_TEXT = 1_000  # characters
LONGEST_URL = 4_096
_LONGEST_VERSION = 255  # as no file's name is longer
_WEIGHT = 650  # bytes that a file takes in memory besides its characters
_VERSION = 64  # and a version
_SIZE_LIMIT = 2**63  # bytes: beyond what the database's integers hold
# What nearly all URLs and times look like; these need not be taken apart and put together again, which is slow.
_PLAIN_PATH = re.compile(r"(?!\S*/[./])/[A-Za-z0-9._~/%+@:=&,!$'()*-]+", re.ASCII)
_PLAIN_URL = re.compile(rf"https?://[a-z0-9.-]*[a-z0-9]{_PLAIN_PATH.pattern}", re.ASCII)
_PLAIN_TIME = re.compile(r"2\d{3}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.(?!0{6})\d{6})?Z", re.ASCII)


class File(msgspec.Struct, frozen=True, array_like=True):
    """One file of a project. Empty string or None: the upstream does not say."""

    filename: str
    version: str  # PEP 440's canonical form
    sha256: str
    url: str  # absolute, at the upstream
    size: int | None = None
    upload_time: str | None = None  # PEP 700: UTC, "Z", at most six digits
    requires_python: str = ""
    yanked: bool | str = False  # PEP 592: a string is the reason
    metadata_sha256: str = ""  # PEP 658
    provenance: str = ""  # PEP 740: absolute, at the upstream
    # Not the upstream's word but ours (`sightings.py`), written as `upload_time` is.
    seen_at: str = ""  # when this index first saw it listed
    absent_at: str = ""  # when it last looked at this page and the file was not there
    extracted: bool = False  # `metadata_sha256` is not the upstream's: read from the wheel (`extraction.py`)


class Page(msgspec.Struct, frozen=True, array_like=True):
    """One project: its normalised name, every version known, the files that can be verified."""

    project: str
    versions: tuple[str, ...]
    files: tuple[File, ...]
    source: str = ""  # the name of the upstream that it came from
    status: str = ""  # PEP 792; empty: the upstream does not say, which means active
    status_reason: str = ""

    def document(self) -> bytes:
        """The page as bytes to store; equal pages give equal bytes."""
        return packed(self.plain())

    def plain(self) -> bytes:
        """The same, not packed; `load` takes both."""
        return msgspec.json.encode(self)

    def weight(self, plain: bytes) -> int:
        """Bytes that it takes in memory; `plain` is its own."""
        said = (self.status_reason, *self.versions, *(file.yanked for file in self.files))
        wide = (*said, *(file.requires_python for file in self.files)) if not plain.isascii() else ()
        return weights.document(plain, len(self.files) * _WEIGHT + len(self.versions) * _VERSION, wide)

    @classmethod
    def load(cls, document: bytes) -> "Page":
        return msgspec.json.decode(unpacked(document), type=cls)

    def find(self, filename: str, sha256: str) -> File | None:
        return next(
            (file for file in self.files if file.filename == filename and file.sha256 == sha256), None
        )


QUARANTINED = "quarantined"
STATUSES = ("active", "archived", QUARANTINED, "deprecated")  # PEP 792


def make_page(
    project: str,
    files: Iterable[File],
    versions: Iterable[str] = (),
    status: object = None,
    status_reason: object = None,
) -> Page:
    """A page of `files`, each once; `versions` (the upstream's list) is completed from them (PEP 700)."""
    stands = status if isinstance(status, str) and status in STATUSES else ""
    # PEP 792: what is quarantined must not be offered, even if its upstream lists it.
    offered = () if stands == QUARANTINED else files
    unique = {(file.filename, file.sha256): file for file in offered}
    stated = dict.fromkeys(version for version in versions if len(version) <= _LONGEST_VERSION)
    known = {canonical(version) for version in stated}
    for file in unique.values():
        if file.version not in known:
            stated.setdefault(file.version)
    why = told(status_reason) if stands and isinstance(status_reason, str) else ""
    return Page(project, tuple(stated), tuple(unique.values()), status=stands, status_reason=why)


class Raw(msgspec.Struct, frozen=True):
    """What an upstream says of one file, unchecked."""

    filename: str
    url: str
    sha256: str
    size: object = None
    upload_time: object = None
    requires_python: object = None
    yanked: object = False
    metadata_sha256: str = ""
    provenance: object = None


def checked_all(project: str, raws: Sequence[Raw | None], base_url: str) -> Iterator[File]:
    """Those that can be taken over; the rest (None: unreadable) is counted in the log."""
    left_out = 0
    for raw in raws:
        file = checked(project, raw, base_url) if raw else None
        if file:
            yield file
        else:
            left_out += 1
    if left_out:
        logger.info(
            "page of %s: %d of %d files left out: no sha256, no valid name, endless, or another project's",
            project,
            left_out,
            len(raws),
        )


def check_count(project: str, entries: Sized) -> None:
    """A page without end would keep every later step (parsing, storing, rendering) from everybody else."""
    if len(entries) > MOST_FILES:
        raise UpstreamError(
            f"The upstream's page of {project} lists more than {MOST_FILES} files or versions."
        )


def checked(project: str, raw: Raw, base_url: str) -> File | None:
    """The file, or None when it could not be fetched and verified under its name, or is another project's."""
    sha256 = raw.sha256.lower()
    url = _absolute(base_url, raw.url)
    if not (is_filename(raw.filename) and is_sha256(sha256) and url):
        return None
    version = release_of(project, raw.filename)
    if version is None:
        return None
    requires = clean(raw.requires_python) if isinstance(raw.requires_python, str) else ""
    if (
        len(requires) > MOST_TEXT
    ):  # cut it would mean another thing, and without it the file would fit everywhere
        return None
    metadata = raw.metadata_sha256.lower()
    return File(
        filename=raw.filename,
        version=version,
        sha256=sha256,
        url=url,
        size=raw.size if type(raw.size) is int and 0 <= raw.size < _SIZE_LIMIT else None,
        upload_time=utc(raw.upload_time),
        requires_python=requires,
        yanked=_yanked(raw.yanked),
        metadata_sha256=metadata if is_sha256(metadata) else "",
        provenance=_provenance(raw.provenance),
    )


def _provenance(value: object) -> str:
    """PEP 740: an absolute https URL, or nothing."""
    url = _absolute("", value) if isinstance(value, str) else ""
    return url if url.startswith("https://") else ""


def _absolute(base_url: str, url: str) -> str:
    """The absolute http(s) URL without its fragment; "" for any other."""
    found = _put_together(base_url, url) if len(url) <= LONGEST_URL else ""
    return found if len(found) <= LONGEST_URL else ""


def _put_together(base_url: str, url: str) -> str:
    if _PLAIN_URL.fullmatch(url):
        return url
    if base_url and _PLAIN_PATH.fullmatch(url):
        root = _root(base_url)
        return root and root + url
    return _joined(base_url, url)


@lru_cache(maxsize=64)
def _root(base_url: str) -> str:
    return _joined(base_url, "/").removesuffix("/")


def _joined(base_url: str, url: str) -> str:
    try:
        joined = urljoin(base_url, url)
        parts = urlsplit(joined)
        port = parts.port
        usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and joined.isprintable()
        )
    except ValueError:  # "http://[", "http://host:port": not a URL
        return ""
    # Percent-escapes stay exactly as given: a signed URL breaks when they are rewritten.
    return quote(parts._replace(fragment="").geturl(), safe="%/:=&?~+!$,;'@()*[]") if usable else ""


def _yanked(value: object) -> bool | str:
    """PEP 691 wants a bool or a non-empty string; anything else there means yanked, to be safe."""
    if isinstance(value, str):
        return told(value) or True
    return value is not None and value is not False


def utc(value: object) -> str | None:
    """PEP 700's form of an upload time; None when it is missing, unreadable or names no zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if _PLAIN_TIME.fullmatch(value):
            return value
        if moment.tzinfo is None:
            return None
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    except (ValueError, OverflowError):
        return None


def clean(text: str) -> str:
    """`text` without what cannot be encoded (lone surrogates) and without control characters."""
    if text.isprintable():
        return text.strip()
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() else " " for char in encodable).strip()


def told(text: str) -> str:
    """What is said to people only, as much of it as they read."""
    text = clean(text)
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 3].rstrip()}..."


def metadata_sha256(*values: object) -> str:
    """The first sha256 among PEP 714's keys; a bare ``true`` names no hash, so nothing could be verified."""
    for value in values:
        if isinstance(value, dict):
            sha256: Any = value.get("sha256")
            if isinstance(sha256, str):
                return sha256
    return ""
