"""`manage.py verify_fetches`, as an auditor runs it."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from sandboxes.usage import services
from sandboxes.usage.models import Fetch
from tests.sandboxes.usage.test_sealing import Put


def test_it_holds_until_somebody_changes_a_row(fetched: Put) -> None:
    fetched("numpy")
    services.seal_fetches()
    out = StringIO()
    call_command("verify_fetches", stdout=out)
    assert "hold: 1" in out.getvalue()
    Fetch.objects.update(project="nunpy")
    with pytest.raises(CommandError, match="are not those that were sealed"):
        call_command("verify_fetches")
