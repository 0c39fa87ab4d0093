"""How decisions are made, for everybody."""

from collections.abc import Callable

from django.test import Client

from portal.accounts.models import User
from portal.approvals.models import Rule


def test_the_rules_in_their_order(client_of: Callable[[User], Client], alice: User) -> None:
    Rule.objects.filter(enabled=True).order_by("position").last()
    page = client_of(alice).get("/rules").content.decode()
    names = list(Rule.objects.filter(enabled=True).order_by("position").values_list("name", flat=True))
    places = [page.index(name) for name in names]
    assert names
    assert places == sorted(places)
    assert "Nothing is allowed by accident" in page


def test_not_for_nobody(client: Client, db: None) -> None:
    assert client.get("/rules").status_code == 302
