"""Signing in, as a browser does it: with a password, by OpenID Connect, by SAML."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from tests.flows.conftest import Company
from tests.petridish import csrf_token, sign_in
from tests.saml_provider import AuthnRequest, SamlProvider

CAROL = {
    "sub": "1f0c",
    "preferred_username": "carol",
    "name": "Carol Clark",
    "email": "carol@example.com",
    "email_verified": True,
    "department": "Legal",
    "roles": ["admin"],
    "role": "admin",
}
DAVE = {"uid": "dave", "mail": "dave@example.com", "displayName": "Dave Dunn", "department": "Finance"}


@pytest.fixture
def browser(company: Company) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=company.petridish.url, follow_redirects=True) as client:
        yield client


def _by_oidc(company: Company, browser: httpx.Client, claims: dict[str, object]) -> httpx.Response:
    company.oidc.claims = claims
    page = browser.get("/accounts/login/", params={"next": "/profile"})
    form = {"csrfmiddlewaretoken": csrf_token(page), "next": "/profile"}
    return browser.post("/accounts/oidc/oidc/login/?process=login", data=form)


def _ask_saml(browser: httpx.Client) -> AuthnRequest:
    page = browser.get("/accounts/login/")
    form = {"csrfmiddlewaretoken": csrf_token(page)}
    sent = browser.post("/accounts/saml/saml/login/?process=login", data=form, follow_redirects=False)
    return AuthnRequest.of(sent.headers["Location"])


def _by_saml(browser: httpx.Client, asked: AuthnRequest, answer: str) -> httpx.Response:
    return browser.post(urlsplit(asked.acs_url).path, data={"SAMLResponse": answer})


def _is_signed_in(browser: httpx.Client) -> bool:
    return browser.get("/profile").url.path == "/profile"


def test_a_password_signs_in_and_the_ledger_knows(company: Company, browser: httpx.Client) -> None:
    page = sign_in(browser, "alice", company.petridish.login("alice")["password"], then="/profile")

    assert (page.status_code, page.url.path) == (200, "/profile")
    form = {"csrfmiddlewaretoken": csrf_token(browser.get("/accounts/logout/"))}
    assert browser.post("/accounts/logout/", data=form).url.path == "/accounts/login/"
    assert not _is_signed_in(browser)
    assert company.ledger("alice")[-2:] == [("person.signed_in", "password"), ("person.signed_out", "")]


@pytest.mark.parametrize(("username", "password"), [("alice", "wrong"), ("nobody", "wrong"), ("alice", "")])
def test_a_wrong_password_does_not(browser: httpx.Client, username: str, password: str) -> None:
    page = sign_in(browser, username, password)

    assert page.url.path == "/accounts/login/"
    assert not _is_signed_in(browser)


def test_guessing_at_one_account_is_stopped(company: Company, browser: httpx.Client) -> None:
    for _ in range(5):
        sign_in(browser, "bob", "a guess")

    page = sign_in(browser, "bob", company.petridish.login("bob")["password"])
    assert not _is_signed_in(browser)
    assert "Too many" in page.text
    assert sign_in(browser, "igor", company.petridish.login("igor")["password"]).url.path == "/"


def test_nobody_signs_up(browser: httpx.Client) -> None:
    assert "Accounts are not made here" in browser.get("/accounts/signup/").text
    form = {"csrfmiddlewaretoken": csrf_token(browser.get("/accounts/login/")), "username": "eve"}
    passwords = {"password1": "correct horse battery", "password2": "correct horse battery"}
    browser.post("/accounts/signup/", data=form | passwords)
    assert not _is_signed_in(browser)


def test_the_sign_in_page_leads_to_no_other_host(browser: httpx.Client, company: Company) -> None:
    password = company.petridish.login("omar")["password"]
    assert sign_in(browser, "omar", password, then="https://evil.example/").url.path == "/"


def test_oidc_makes_an_employee_at_the_first_sign_in(company: Company, browser: httpx.Client) -> None:
    assert "Company login" in browser.get("/accounts/login/").text

    page = _by_oidc(company, browser, dict(CAROL))

    assert (page.status_code, page.url.path) == (200, "/profile")
    # Claims that look like a role give none.
    assert company.person("carol") == ("Carol Clark", "Legal", "carol@example.com", "employee")
    assert company.ledger("carol") == [("person.signed_in", "oidc")]


def test_oidc_knows_a_person_again_by_subject_and_follows_changes(
    company: Company, browser: httpx.Client
) -> None:
    _by_oidc(company, browser, dict(CAROL))
    browser.cookies.clear()

    _by_oidc(
        company, browser, CAROL | {"name": "Carol Cole", "department": "Sales", "preferred_username": "ccole"}
    )

    assert company.person("carol") == ("Carol Cole", "Sales", "carol@example.com", "employee")
    assert company.person("ccole") is None


def test_oidc_takes_over_nobodys_account(company: Company, browser: httpx.Client) -> None:
    """Neither by an equal address, which is refused, nor by an equal name, for which another is found."""
    page = _by_oidc(company, browser, {"sub": "2", "preferred_username": "x", "email": "ADA@example.com"})
    assert page.status_code == 409
    assert "another account with the address" in page.text
    assert not _is_signed_in(browser)

    _by_oidc(company, browser, {"sub": "3", "preferred_username": "ada", "email": "other@example.com"})
    assert company.person("ada") == ("Ada Admin", "IT", "ada@example.com", "admin")
    assert company.person("other") == ("", "", "other@example.com", "employee")


def test_oidc_refuses_an_answer_nobody_asked_for(company: Company, browser: httpx.Client) -> None:
    page = browser.get("/accounts/oidc/oidc/login/callback/", params={"code": "x", "state": "y"})

    assert "Sign-in failed" in page.text
    assert not _is_signed_in(browser)


def test_saml_metadata_for_the_company_to_register(company: Company, browser: httpx.Client) -> None:
    metadata = browser.get("/accounts/saml/saml/metadata/")

    assert metadata.headers["Content-Type"] == "text/xml"
    assert f'Location="{company.petridish.url}/accounts/saml/saml/acs/"' in metadata.text


def test_saml_makes_an_employee(company: Company, browser: httpx.Client) -> None:
    asked = _ask_saml(browser)

    page = _by_saml(browser, asked, company.saml.answer(asked, "dave-7", DAVE))

    assert page.status_code == 200
    assert _is_signed_in(browser)
    assert company.person("dave") == ("Dave Dunn", "Finance", "dave@example.com", "employee")
    assert company.ledger("dave") == [("person.signed_in", "saml")]


def test_saml_refuses_what_is_not_signed_by_the_company(company: Company, browser: httpx.Client) -> None:
    for provider, signed in ((company.saml, False), (SamlProvider(), True)):
        asked = _ask_saml(browser)
        page = _by_saml(browser, asked, provider.answer(asked, "mallory", {"uid": "mallory"}, signed=signed))
        assert "Sign-in failed" in page.text
        assert not _is_signed_in(browser)
    assert company.person("mallory") is None


def test_saml_refuses_an_answer_nobody_asked_for_and_one_given_twice(
    company: Company, browser: httpx.Client
) -> None:
    asked = _ask_saml(browser)
    unasked = company.saml.answer(replace(asked, id=""), "mallory", {"uid": "mallory"})
    assert "Sign-in failed" in _by_saml(browser, asked, unasked).text

    answer = company.saml.answer(asked, "dave-7", DAVE)
    _by_saml(browser, asked, answer)
    browser.cookies.clear()
    _by_saml(browser, asked, answer)
    assert not _is_signed_in(browser)
