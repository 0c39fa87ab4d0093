"""An upstream's HTML page (PEP 503, 592, 629, 658) → `Page`. Pure."""

from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from sandboxes.index.errors import UpstreamError
from sandboxes.index.page import Page, Raw, checked, make_page


def parse_html(project: str, body: bytes, base_url: str, encoding: str = "utf-8") -> Page:
    """Raises `UpstreamError` for another major API version; single bad links are left out."""
    try:
        text = body.decode(encoding, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    reader = _Reader(base_url)
    reader.feed(text)
    reader.close()
    if reader.version.split(".")[0] != "1":
        raise UpstreamError(f"The upstream's page of {project} is of API version {reader.version!r}, not 1.")
    files = (checked(project, raw, reader.base_url) for raw in reader.files)
    return make_page(project, (file for file in files if file))


class _Reader(HTMLParser):
    """Gathers anchors. `<base href>` moves what the links are relative to (PEP 503 allows it)."""

    def __init__(self, base_url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.base_url = base_url
        self.version = "1.0"  # PEP 629: assumed when the page does not say
        self.files: list[Raw] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {
            name: value or "" for name, value in reversed(attrs)
        }  # the first of equal attributes counts
        if tag == "a" and "href" in values:
            self._anchor(values)
        elif tag == "base" and "href" in values:
            self._base(values["href"])
        elif tag == "meta" and values.get("name") == "pypi:repository-version":
            self.version = values.get("content", "")

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
            )
        )


def _sha256(pairs: str) -> str:
    """The value of ``sha256=`` in a fragment or attribute; "" when it names no such hash."""
    try:
        return parse_qs(pairs).get("sha256", [""])[0]
    except ValueError:  # more fields than parse_qs wants to see
        return ""
