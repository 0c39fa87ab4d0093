"""An upstream's HTML page (PEP 503, 592, 629, 658) → `Page`. Pure."""

from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from sandboxes.index.errors import UpstreamError
from sandboxes.index.page import Page, Raw, check_count, checked_all, make_page

# Characters from one ">" to the next; a real link with all attributes has under 1,000.
_LONGEST_TAG = 8 * 1024
# Python knows many more, some of them slow beyond all measure; what names another is read as UTF-8.
_ENCODINGS = ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252")


def parse_html(project: str, body: bytes, base_url: str, encoding: str = "utf-8") -> Page:
    """Raises `UpstreamError` for another major API version; single bad links are left out."""
    reader = _Reader(base_url)
    try:
        _feed(reader, body.decode(encoding if encoding.lower() in _ENCODINGS else "utf-8", "replace"))
    except (AssertionError, ValueError) as error:  # the parser's ways of saying that it is lost
        raise UpstreamError(f"The upstream's page of {project} is not HTML that can be read.") from error
    check_count(project, reader.files)
    if reader.version.split(".")[0] != "1":
        raise UpstreamError(f"The upstream's page of {project} is of API version {reader.version!r}, not 1.")
    files = checked_all(project, reader.files, reader.base_url)
    return make_page(project, files, (), reader.status, reader.status_reason)


def _feed(reader: HTMLParser, text: str) -> None:
    """Refuses first what costs the parser time by the square of the page: endless tags, and CDATA."""
    if any(len(piece) > _LONGEST_TAG for piece in text.split(">")) or "<![cdata[" in text.lower():
        raise ValueError("the page is made to keep its reader busy")
    reader.feed(text)
    reader.close()


class _Reader(HTMLParser):
    """Gathers anchors. `<base href>` moves what the links are relative to (PEP 503 allows it)."""

    def __init__(self, base_url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.base_url = base_url
        self.version = "1.0"  # PEP 629: assumed when the page does not say
        self.status = self.status_reason = ""  # PEP 792
        self.files: list[Raw] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {
            name: value or "" for name, value in reversed(attrs)
        }  # the first of equal attributes counts
        if tag == "a" and "href" in values:
            self._anchor(values)
        elif tag == "base" and "href" in values:
            self._base(values["href"])
        elif tag == "meta":
            self._meta(values.get("name", ""), values.get("content", ""))

    def _meta(self, name: str, content: str) -> None:
        if name == "pypi:repository-version":
            self.version = content
        elif name == "pypi:project-status":
            self.status = content
        elif name == "pypi:project-status-reason":
            self.status_reason = content

    def _base(self, href: str) -> None:
        try:
            self.base_url = urljoin(self.base_url, href)
        except ValueError:  # "http://[": the links stay relative to the page
            return

    def _anchor(self, values: Mapping[str, str]) -> None:
        """The file's name is the last part of the link's path, as pip reads it; the text is only for people."""
        try:
            parts = urlsplit(values["href"])
        except ValueError:
            return
        metadata = values.get("data-core-metadata") or values.get("data-dist-info-metadata", "")
        self.files.append(
            Raw(
                filename=unquote(parts.path.rsplit("/", 1)[-1]),
                url=values["href"],
                sha256=_sha256(parts.fragment),
                requires_python=values.get("data-requires-python"),
                yanked=values.get("data-yanked", False),
                metadata_sha256=_sha256(metadata),
                provenance=values.get("data-provenance"),
            )
        )


def _sha256(pairs: str) -> str:
    """The value of ``sha256=`` in a fragment or attribute; "" when it names no such hash."""
    try:
        return parse_qs(pairs).get("sha256", [""])[0]
    except ValueError:  # more fields than parse_qs wants to see
        return ""
