"""Every address, and who may open it.

The table below names each pattern the resolver knows, with each method it takes
and the status for nobody and for each of the cast. Bob owns the request and the
sandbox in the addresses; alice is an employee who has nothing to do with them.
An address that is not in the table fails, as does a line whose address is gone.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from portal.accounts.models import User
from portal.accounts.tokens import issue
from tests.portal.web import world

NEXT_YEAR = datetime.now(UTC).year + 1
CAST = ("nobody", "alice", "bob", "iris", "omar", "ada")


@dataclass(frozen=True)
class Line:
    """`statuses` follow CAST. `body` is what is posted: a form, or JSON to the API."""

    method: str
    pattern: str
    statuses: tuple[int, ...]
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.pattern}"


def _line(method: str, pattern: str, statuses: str, /, **body: Any) -> Line:
    """One status for all, or one for each of the cast."""
    given = tuple(int(status) for status in statuses.split())
    return Line(method, pattern, given * len(CAST) if len(given) == 1 else given, body)


ASKED = {
    "profile": "python",
    "purpose": "Compare",
    "tools": ["rich"],
    "duration": "PT1H",
    "data_class": "public",
    "answers": {},
}
WAY = {"host": "api.example.org", "port": 443, "reason": "Load the sample"}
WHY = "why/<str:ecosystem>/<path:project>/<str:version>/"
WAIVED = {"project": "demo", "version": "2.0", "scope": "person", "reason": "For the demo"}
RULES = {
    "cooldown": "P14D",
    "freeze_at": None,
    "sdists": False,
    "yanked": True,
    "most_bytes": None,
    "refuse_from": "high",
    "screened": False,
    "only_allowed": False,
    "reason": "Safer",
}
DECLARED = {"project": "evil", "which": "all", "kind": "malicious", "why": "It steals tokens"}
RECORD = {
    "summary": "It steals tokens",
    "affected": [{"package": {"ecosystem": "PyPI", "name": "evil"}, "versions": ["2.0"]}],
}
FORM = {
    **ASKED,
    "tools": "rich",
    **{f"answer_{key}": text for key, text in world.ANSWERS.items()},
}

#                                            nobody alice bob iris omar ada
PAGES = [
    _line("GET", "", "302 200 200 200 200 200"),
    _line("GET", "requests/new", "302 200 200 200 200 200"),
    _line("POST", "requests/new", "302 302 302 302 302 302", **FORM),
    _line("POST", "requests/new/preview", "302 200 200 200 200 200", **FORM),
    _line("GET", "requests/<int:request_id>", "302 404 200 200 200 200"),
    _line("GET", "requests/<int:request_id>/decide", "302 403 403 302 403 302"),
    _line("POST", "requests/<int:request_id>/decide", "302 403 403 302 403 302", decision="approve"),
    _line("POST", "requests/<int:request_id>/withdraw", "302 404 302 403 403 403"),
    _line("GET", "queue", "302 403 403 200 403 200"),
    _line("GET", "sandboxes", "302 200 200 200 200 200"),
    _line("GET", "sandboxes/<int:sandbox_id>", "302 404 200 200 200 200"),
    _line("GET", "sandboxes/<int:sandbox_id>/access", "302 404 200 403 403 403"),
    _line("GET", "sandboxes/<int:sandbox_id>/extend", "302"),
    _line(
        "POST", "sandboxes/<int:sandbox_id>/extend", "302 404 302 404 404 404", duration="P1D", reason="More"
    ),
    _line("POST", "sandboxes/<int:sandbox_id>/end", "302 404 302 302 403 302"),
    _line("GET", "sandboxes/<int:sandbox_id>/egress", "302 404 200 200 200 200"),
    _line("POST", "sandboxes/<int:sandbox_id>/egress", "302 404 302 404 404 404", **WAY),
    _line("POST", "sandboxes/<int:sandbox_id>/egress/<int:exception_id>/end", "302 404 302 302 403 302"),
    _line("POST", "sandboxes/<int:sandbox_id>/inventory", "302 404 302 302 302 302"),
    _line("POST", "sandboxes/<int:sandbox_id>/hibernate", "302 404 302 403 403 403"),
    _line("POST", "sandboxes/<int:sandbox_id>/wake", "302 404 302 403 403 403"),
    _line("POST", "sandboxes/<int:sandbox_id>/isolate", "302 404 403 302 403 302", reason="Odd"),
    _line("POST", "sandboxes/<int:sandbox_id>/release", "302 404 403 302 403 302", reason="Fine"),
    _line(
        "POST",
        "sandboxes/<int:sandbox_id>/hold",
        "302 404 403 403 403 302",
        until=f"{NEXT_YEAR}-01-01",
        reason="Law",
    ),
    _line("POST", "sandboxes/<int:sandbox_id>/lift", "302 404 403 403 403 302", reason="Settled"),
    _line("GET", "sandboxes/<int:sandbox_id>/receipt.json", "302 404 404 404 404 404"),  # not over yet
    _line("GET", "receipts/key", "200"),
    _line("GET", "receipts/verify", "200"),
    _line("POST", "receipts/verify", "422", text="no receipt"),
    _line("GET", "reports/usage", "302 403 403 403 200 200"),
    _line("GET", "reports/usage.csv", "302 403 403 403 200 200"),
    _line("GET", "ledger", "302 403 403 403 200 200"),
    _line("GET", "ledger/verify", "302 403 403 403 302 302"),
    _line("POST", "ledger/verify", "302 403 403 403 200 200"),
    _line("GET", "profile", "302 200 200 200 200 200"),
    _line("GET", "profile/tokens", "302"),
    _line("POST", "profile/tokens", "302 200 200 200 200 200", name="laptop", days="7"),
    _line("POST", "profile/tokens/<int:token_id>/revoke", "302 404 302 404 404 404"),
    _line("GET", "rules", "302 200 200 200 200 200"),
    _line("GET", WHY, "302 200 200 200 200 200"),
    _line(
        "POST",
        WHY,
        "302 302 302 302 302 302",
        rule="cooldown",
        scope="person",
        until="P7D",
        reason="For the demo",
    ),
    _line("GET", "waivers", "302 200 200 200 200 200"),
    _line("GET", "waivers/<int:waiver_id>", "302 404 200 200 200 200"),
    _line("GET", "waivers/<int:waiver_id>/decide", "302 403 403 302 403 302"),
    _line("POST", "waivers/<int:waiver_id>/decide", "302 403 403 302 403 302", decision="grant"),
    _line("POST", "waivers/<int:waiver_id>/withdraw", "302 404 302 403 403 403"),
    _line("POST", "waivers/<int:waiver_id>/end", "302 404 302 302 403 302", reason="No need"),
    _line("GET", "waivers/break-glass", "302 403 403 403 403 200"),
    _line(
        "POST",
        "waivers/break-glass",
        "302 403 403 403 403 302",
        ecosystem="pypi",
        project="demo",
        scope="all",
        reason="A patch",
    ),
    _line("GET", "policy", "302 200 200 200 200 200"),
    _line("GET", "policy/profiles/<str:profile>", "302 200 200 200 200 200"),
    _line("GET", "policy/change", "302 403 403 403 403 302"),
    _line("POST", "policy/change", "302 403 403 403 403 302", cooldown="14", reason="Safer"),
    _line("GET", "policy/reset", "302 403 403 403 403 302"),
    _line("POST", "policy/reset", "302 403 403 403 403 302", profile="gpu", reason="As all"),
    _line("GET", "policy/list", "302 403 403 403 403 302"),
    _line(
        "POST",
        "policy/list",
        "302 403 403 403 403 302",
        ecosystem="pypi",
        kind="deny",
        pattern="evil",
        reason="It is",
    ),
    _line("POST", "policy/list/<int:entry_id>/end", "302 403 403 403 403 302", reason="Fine"),
    _line("GET", "advisories", "302 200 200 200 200 200"),
    _line("GET", "advisories/declare", "302 403 403 403 403 200"),
    _line("POST", "advisories/declare", "302 403 403 403 403 302", **DECLARED),
    _line("POST", "advisories/declare/preview", "302 403 403 403 403 200", **DECLARED),
    _line("GET", "advisories/<str:advisory_id>", "302 200 200 200 200 200"),
    _line("GET", "advisories/<str:advisory_id>/withdraw", "302 403 403 403 403 302"),
    _line("POST", "advisories/<str:advisory_id>/withdraw", "302 403 403 403 403 302", reason="Wrong"),
    _line("GET", "held", "302 403 403 200 403 200"),
    _line("GET", "held/<str:sha256>", "302 403 403 200 403 200"),
    _line("GET", "held/<str:sha256>/decide", "302 403 403 302 403 302"),
    _line("POST", "held/<str:sha256>/decide", "302 403 403 302 403 302", decision="block", reason="Bad"),
    _line("GET", "scale", "302 403 403 403 403 200"),
    _line("POST", "scale/preview", "302 403 403 403 403 200"),
    _line("GET", "scale/change", "302 403 403 403 403 302"),
    _line("POST", "scale/change", "302 403 403 403 403 422"),
    _line("GET", "scale/restore", "302 403 403 403 403 302"),
    _line("POST", "scale/restore", "302 403 403 403 403 302", reason="As it was"),
    _line("GET", "operate", "302 403 403 403 403 200"),
    _line("GET", "operate/act", "302 403 403 403 403 302"),
    _line("POST", "operate/act", "302 403 403 403 403 302", action="pause", reason="Maintenance"),
    _line("POST", "operate/orphans/<int:orphan_id>/<slug:action>", "302 403 403 403 403 302"),
    _line("GET", "operate/clusters", "302 403 403 403 403 200"),
    _line("GET", "operate/register", "302 403 403 403 403 200"),
    _line("POST", "operate/register", "302 403 403 403 403 422"),
    _line("GET", "operate/clusters/<str:name>", "302 403 403 403 403 200"),
    _line("GET", "operate/clusters/<str:name>/act", "302 403 403 403 403 302"),
    _line("POST", "operate/clusters/<str:name>/act", "302 403 403 403 403 302", action="check"),
    _line("GET", "operate/quotas", "302 403 403 403 403 200"),
    _line("GET", "operate/quotas/change", "302 403 403 403 403 302"),
    _line("POST", "operate/quotas/change", "302 403 403 403 403 302", scope="person", sandboxes="5"),
    _line("GET", "exposures", "302 403 403 200 200 200"),
    _line("GET", "exposures.csv", "302 403 403 200 200 200"),
    _line("GET", "exposures/reactions", "302 403 403 403 403 200"),
    _line("GET", "exposures/reactions/change", "302 403 403 403 403 302"),
    _line("POST", "exposures/reactions/change", "302 403 403 403 403 302", low="end", reason="Strict"),
    _line("GET", "exposures/of/<str:advisory_id>", "302 403 403 200 200 200"),
    _line("GET", "tools/sbom.json", "302 404 404 404 404 404"),  # of nothing
    _line("GET", "sandboxes/<int:sandbox_id>/sbom.json", "302 404 200 200 200 200"),
    _line("GET", "sandboxes/<int:sandbox_id>/evidence.zip", "302 404 403 403 403 403"),  # never isolated
    _line("GET", "alarms", "302 403 403 200 200 200"),
    _line("POST", "alarms/<int:alarm_id>/clear", "302 403 403 403 403 302"),
]
SIGN_IN = [
    _line("GET", "accounts/login/", "200 302 302 302 302 302"),
    _line("POST", "accounts/login/", "200 302 302 302 302 302"),  # nothing typed: the form again
    _line("GET", "accounts/logout/", "302 200 200 200 200 200"),
    _line("POST", "accounts/logout/", "302"),
    _line("GET", "accounts/inactive/", "200"),
    _line("GET", "accounts/signup/", "200 302 302 302 302 302"),
    _line("GET", "accounts/password/change/", "302 200 200 200 200 200"),
    _line("GET", "accounts/3rdparty/login/cancelled/", "200"),
    _line("GET", "accounts/3rdparty/login/error/", "401"),
]
HEALTH = [
    _line("GET", "healthz", "200"),
    _line("GET", "readyz", "200"),
]
API = [
    _line("GET", "api/v1/openapi.json", "200"),
    _line("GET", "api/v1/requests", "401 200 200 200 200 200"),
    _line("POST", "api/v1/requests", "401 201 201 201 201 201", **ASKED),
    _line("POST", "api/v1/requests/preview", "401 200 200 200 200 200", **ASKED),
    _line("GET", "api/v1/requests/<int:request_id>", "401 404 200 200 200 200"),
    _line("POST", "api/v1/requests/<int:request_id>/decision", "401 403 403 200 403 200", decision="approve"),
    _line("POST", "api/v1/requests/<int:request_id>/withdraw", "401 404 200 403 403 403"),
    _line("GET", "api/v1/sandboxes", "401 200 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>", "401 404 200 200 200 200"),
    _line(
        "POST",
        "api/v1/sandboxes/<int:sandbox_id>/extend",
        "401 404 201 404 404 404",
        duration="P1D",
        reason="More",
    ),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/end", "401 404 202 202 403 202"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/egress", "401 404 200 200 200 200"),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/egress", "401 404 201 404 404 404", **WAY),
    _line(
        "POST",
        "api/v1/sandboxes/<int:sandbox_id>/egress/<int:exception_id>/end",
        "401 404 200 200 403 200",
    ),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/connections", "401 404 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/run-time", "401 404 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/attempts", "401 404 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/inventory", "401 404 200 200 200 200"),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/inventory", "401 404 202 202 202 202"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/honeytokens", "401 404 200 200 200 200"),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/hibernate", "401 404 202 403 403 403"),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/wake", "401 404 202 403 403 403"),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/isolate", "401 403 403 202 403 202", reason="Odd"),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/release", "401 403 403 409 403 409", reason="Fine"),
    _line(
        "POST",
        "api/v1/sandboxes/<int:sandbox_id>/hold",
        "401 403 403 403 403 200",
        until=f"{NEXT_YEAR}-01-01T00:00:00Z",
        reason="Law",
    ),
    _line("POST", "api/v1/sandboxes/<int:sandbox_id>/lift", "401 403 403 403 403 200", reason="Settled"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/installs", "401 404 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/older", "401 404 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/refused", "401 404 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/receipt", "401 404 404 404 404 404"),  # not over yet
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/sbom", "401 404 200 200 200 200"),
    _line("GET", "api/v1/sandboxes/<int:sandbox_id>/evidence", "401 403 403 409 409 409"),  # never isolated
    _line("GET", "api/v1/exposure", "401 200 200 200 200 200"),
    _line("GET", "api/v1/exposure/totals", "401 403 403 422 422 422"),  # of nothing
    _line("GET", "api/v1/exposure/sbom", "401 422 422 422 422 422"),  # of nothing
    _line("GET", "api/v1/waivers", "401 200 200 200 200 200"),
    _line("POST", "api/v1/waivers", "401 201 201 201 201 201", rule="cooldown", **WAIVED),
    _line("POST", "api/v1/waivers/break-glass", "401 403 403 403 403 201", **WAIVED),
    _line("GET", "api/v1/waivers/why", "401 422 422 422 422 422"),  # of nothing
    _line("GET", "api/v1/waivers/<int:waiver_id>", "401 404 200 200 200 200"),
    _line("POST", "api/v1/waivers/<int:waiver_id>/decision", "401 403 403 200 403 200", decision="grant"),
    _line("POST", "api/v1/waivers/<int:waiver_id>/withdraw", "401 404 200 403 403 403"),
    _line(
        "POST", "api/v1/waivers/<int:waiver_id>/end", "401 404 409 409 403 409", reason="No need"
    ),  # not granted yet
    _line("GET", "api/v1/policy", "401 200 200 200 200 200"),
    _line("POST", "api/v1/policy", "401 403 403 403 403 200", **RULES),
    _line("POST", "api/v1/policy/reset", "401 403 403 403 403 200", profile="gpu", reason="As all"),
    _line("GET", "api/v1/policy/entries", "401 200 200 200 200 200"),
    _line(
        "POST",
        "api/v1/policy/entries",
        "401 403 403 403 403 201",
        kind="deny",
        pattern="evil",
        reason="It is",
    ),
    _line("POST", "api/v1/policy/entries/<int:entry_id>/end", "401 403 403 403 403 200", reason="Fine"),
    _line("POST", "api/v1/policy-logs", "401 403 403 403 403 200"),
    _line("GET", "api/v1/advisories", "401 200 200 200 200 200"),
    _line("POST", "api/v1/advisories", "401 403 403 403 403 201", **RECORD),
    _line("GET", "api/v1/advisories/<str:advisory_id>", "401 200 200 200 200 200"),
    _line("GET", "api/v1/verdicts", "401 403 403 200 200 200"),
    _line("GET", "api/v1/verdicts/<str:sha256>", "401 403 403 200 200 200"),
    _line("POST", "api/v1/verdicts/<str:sha256>/release", "401 403 403 200 403 200", reason="Fine"),
    _line("POST", "api/v1/verdicts/<str:sha256>/block", "401 403 403 200 403 200", reason="Bad"),
    _line("POST", "api/v1/verdicts/<str:sha256>/reopen", "401 403 403 409 403 409", reason="Again"),
    _line("GET", "api/v1/reports/usage", "401 403 403 403 200 200"),
    _line("GET", "api/v1/audit", "401 403 403 403 200 200"),
    _line("GET", "api/v1/audit/verify", "401 403 403 403 200 200"),
    _line("GET", "api/v1/", "404"),
    _line("GET", "^api(?:/|$)", "404"),
]
TABLE = [*PAGES, *SIGN_IN, *HEALTH, *API]


def _patterns(found: list[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for one in found:
        route = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from _patterns(one.url_patterns, route)
        else:
            yield route, one


KNOWN = dict(_patterns(get_resolver().url_patterns))


@pytest.fixture
def cast(alice: User, bob: User, iris: User, omar: User, ada: User) -> dict[str, User | None]:
    """With passwords: who has none, because they come by single sign-on, has none to change either."""
    for person in (alice, bob, iris, omar, ada):
        person.set_password("correct horse battery")
        person.save(update_fields=["password"])
    return {"nobody": None, "alice": alice, "bob": bob, "iris": iris, "omar": omar, "ada": ada}


@pytest.fixture
def ids(bob: User) -> dict[str, int | str]:
    """Of what bob has: a request that waits, a sandbox that is ready with a way out, a token."""
    token, _ = issue(user=bob, name="bob's", expires_in=timedelta(days=1), by=None)
    sandbox = world.ready(bob)
    return {
        "request_id": world.wait(bob).pk,
        "sandbox_id": sandbox.pk,
        "exception_id": world.way_out(sandbox).pk,
        "token_id": token.pk,
        "alarm_id": world.alarm().pk,
        "orphan_id": world.orphan().pk,
        "waiver_id": world.waiver(bob, sandbox).pk,
        "entry_id": world.policy_of("gpu").pk,
        "advisory_id": world.advisory(bob, "bad").pk,
        "sha256": world.held().pk,
    }


def _address(pattern: str, ids: dict[str, int | str]) -> str:
    for name, value in ids.items():
        pattern = pattern.replace(f"<int:{name}>", str(value)).replace(f"<str:{name}>", str(value))
    named = {"<str:name>": "simulated", "<slug:action>": "keep", "<str:profile>": "gpu"}
    named |= {"<str:ecosystem>": "pypi", "<path:project>": "demo", "<str:version>": "2.0"}
    for name, text in named.items():
        pattern = pattern.replace(name, text)
    return "/" + pattern.removeprefix("^").removesuffix("(?:/|$)")


def _signed_in(person: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if person is not None:
        client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def _with_token(person: User | None) -> Client:
    if person is None:
        return Client(raise_request_exception=False)
    _, text = issue(user=person, name="table", expires_in=timedelta(hours=1), by=None)
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})


def _payload(line: Line) -> tuple[bytes, str]:
    """What is sent, and its content type."""
    if line in API:
        return json.dumps(line.body).encode() if line.method == "POST" else b"", "application/json"
    return urlencode(line.body).encode(), "application/x-www-form-urlencoded"


def test_every_address_is_in_the_table_and_every_line_has_one() -> None:
    assert {line.pattern for line in TABLE} == set(KNOWN)


def test_every_operation_of_the_api_is_in_the_table() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    offered = {
        (method.upper(), path.lstrip("/").replace("{", "<").replace("}", ">"))
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert offered <= {(line.method, re.sub(r"<\w+:", "<", line.pattern)) for line in API}


@pytest.mark.parametrize("line", TABLE, ids=str)
def test_who_may_open_it(line: Line, cast: dict[str, User | None], ids: dict[str, int | str]) -> None:
    """Each of the cast tries on the same rows: what one did is rolled back before the next."""
    seen = {}
    for name, person in cast.items():
        with transaction.atomic():
            client = _with_token(person) if line in API else _signed_in(person)
            answer = client.generic(line.method, _address(line.pattern, ids), *_payload(line))
            seen[name] = answer.status_code
            transaction.set_rollback(True)
    assert seen == dict(zip(CAST, line.statuses, strict=True))


@pytest.mark.parametrize("line", [line for line in PAGES if line.statuses[0] == 302], ids=str)
def test_nobody_is_sent_to_sign_in(line: Line, ids: dict[str, int | str]) -> None:
    answer = Client().generic(line.method, _address(line.pattern, ids))
    assert answer["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("line", [line for line in API if line.statuses[0] == 401], ids=str)
def test_a_browsers_session_opens_nothing_of_the_api(
    line: Line, ada: User, ids: dict[str, int | str]
) -> None:
    answer = _signed_in(ada).generic(line.method, _address(line.pattern, ids))
    assert answer.status_code == 401


def test_pages_take_no_other_method(ada: User, ids: dict[str, int | str]) -> None:
    """What only reads refuses a POST, what writes refuses a GET, and nothing takes a DELETE."""
    client = _signed_in(ada)
    methods: dict[str, set[str]] = {}
    for line in PAGES:
        methods.setdefault(line.pattern, set()).add(line.method)
    for pattern, taken in methods.items():
        for method in {"GET", "POST", "DELETE", "PUT"} - taken:
            assert client.generic(method, _address(pattern, ids)).status_code == 405, (method, pattern)
