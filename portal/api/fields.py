"""What the resources share: texts that can be stored, durations, and lists by pages.

Lists are plain JSON arrays. A page is cut at a number, never at an offset, so it
costs the same however far back it lies; where there is more, the `Link` header
(RFC 8288) has the next page's address as rel="next".
"""

from datetime import timedelta
from typing import Annotated

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from portal.approvals.drafts import DraftError, parse_duration
from sandboxes.errors import InvalidInputError

LARGEST_ID = 2**63 - 1
LONGEST_TEXT = 4000
MOST_ROWS = 200


def _storable(text: str) -> str:
    """PostgreSQL stores neither NUL nor half a surrogate pair, and JSON can carry both."""
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("It holds a character that cannot be stored.")
    return text


Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT), AfterValidator(_storable)]
RowId = Annotated[int, Field(ge=0, le=LARGEST_ID)]


class Input(Schema):
    """A body. A field it does not know is an error: a mistyped one must not be passed over."""

    model_config = ConfigDict(extra="forbid")


class Page(Schema):
    """How much of a list to give, and from where."""

    limit: int = Field(50, ge=1, le=MOST_ROWS)


class NewestFirst(Page):
    """Rows numbered below `before`, the newest first."""

    before: RowId | None = None


class OldestFirst(Page):
    """Rows numbered above `after`, the oldest first."""

    after: RowId = 0


def newest[M: Model](
    rows: QuerySet[M], page: NewestFirst, request: HttpRequest, response: HttpResponse
) -> list[M]:
    """The page of rows that are ordered newest first."""
    if page.before is not None:
        rows = rows.filter(pk__lt=page.before)
    found = list(rows[: page.limit + 1])
    if len(found) > page.limit:
        found.pop()
        link_next(request, response, before=found[-1].pk)
    return found


def link_next(request: HttpRequest, response: HttpResponse, **changed: int | str) -> None:
    """Points at the same list with these parameters changed."""
    query = request.GET.copy()
    for name, value in changed.items():
        query[name] = str(value)
    address = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
    response["Link"] = f'<{address}>; rel="next"'


def duration(text: str) -> timedelta:
    """An ISO 8601 duration from a body's field `duration`."""
    try:
        return parse_duration(text)
    except InvalidInputError as error:
        raise DraftError({"duration": str(error)}) from error
