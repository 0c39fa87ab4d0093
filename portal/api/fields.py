"""Types that the resources share: texts that can be stored, times, pages of lists."""

from typing import Annotated

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Schema
from pydantic import AfterValidator, ConfigDict, StringConstraints

from portal.approvals.drafts import DraftError, parse_duration
from sandboxes.errors import InvalidInputError
