"""Who gets to a view: nobody, somebody without the permission, somebody with it."""

from urllib.parse import quote

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import ROLE_PERMISSIONS, Permission, Role, refusal


@require(Permission.READ_LEDGER)
def ledger(request: HttpRequest, page: int = 1) -> HttpResponse:
    return HttpResponse(f"{person(request).username} reads page {page}")


def _request(user: User | AnonymousUser, path: str = "/ledger?after=3", **headers: str) -> HttpRequest:
    request = RequestFactory(headers=headers).get(path)
    request.user = user
    return request


def test_who_has_the_permission_gets_the_page(omar: User) -> None:
    assert ledger(_request(omar), page=2).getvalue() == b"omar reads page 2"


def test_who_lacks_it_is_refused(alice: User) -> None:
    with pytest.raises(
        PermissionDenied, match=r"does not let you read the ledger; auditors and admins may\."
    ):
        ledger(_request(alice))


@pytest.mark.parametrize(("field", "value"), [("is_active", False), ("role", "emperor"), ("role", "")])
def test_a_disabled_person_and_an_unknown_role_may_nothing(omar: User, field: str, value: object) -> None:
    setattr(omar, field, value)
    with pytest.raises(PermissionDenied):
        ledger(_request(omar))


def test_nobody_is_sent_to_sign_in_and_back() -> None:
    response = ledger(_request(AnonymousUser()))

    assert response.status_code == 302
    assert response.headers["Location"] == "/accounts/login/?next=" + quote("/ledger?after=3")


def test_nobody_is_not_sent_back_to_an_address_that_only_takes_posts() -> None:
    request = RequestFactory().post("/requests/1/withdraw")
    request.user = AnonymousUser()

    assert ledger(request).headers["Location"] == "/accounts/login/?next=/"


def test_a_part_of_a_page_sends_the_whole_page_to_sign_in() -> None:
    shown = {"HX-Request": "true", "HX-Current-URL": "http://testserver/queue?state=pending"}
    response = ledger(_request(AnonymousUser(), **shown))

    assert response.status_code == 200
    assert response.headers["HX-Redirect"] == "/accounts/login/?next=" + quote("/queue?state=pending")


def test_a_part_of_a_page_never_leads_back_to_another_host() -> None:
    shown = {"HX-Request": "true", "HX-Current-URL": "http://evil.example/queue"}

    assert ledger(_request(AnonymousUser(), **shown)).headers["HX-Redirect"] == "/accounts/login/?next=/"


def test_nobody_is_no_person() -> None:
    with pytest.raises(PermissionDenied):
        person(_request(AnonymousUser()))


def test_every_role_is_a_set_of_permissions() -> None:
    assert set(ROLE_PERMISSIONS) == set(Role)
    assert ROLE_PERMISSIONS[Role.ADMIN] == set(Permission)
    assert not ROLE_PERMISSIONS[Role.AUDITOR] & {Permission.DECIDE_REQUESTS, Permission.MANAGE}


@pytest.mark.parametrize("permission", Permission)
def test_every_refusal_is_in_words(permission: Permission) -> None:
    said = refusal([permission])
    assert "_" not in said
    assert "admins may." in said


def test_a_refusal_of_several_names_them_all() -> None:
    assert refusal([Permission.END_ANY_SANDBOX, Permission.SEE_ALARMS]) == (
        "Your role does not let you end other people’s sandboxes or see alarms; "
        "approvers, auditors and admins may."
    )
