"""The demo people and `demo.json`."""

import json
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from portal.accounts import demo, tokens
from portal.accounts.models import ApiToken, User
from portal.accounts.permissions import Role
from portal.env import Environment
from sandboxes.audit.models import Entry
from sandboxes.errors import RefusedError

pytestmark = pytest.mark.django_db


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return replace(settings.ENV, data_dir=tmp_path)


def _file(environment: Environment) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((environment.data_dir / "demo.json").read_text())
    return found


def test_six_people_who_can_sign_in_and_use_the_api(environment: Environment) -> None:
    demo.seed(environment)

    logins = _file(environment)
    assert {login["username"]: login["role"] for login in logins} == {
        "alice": "employee",
        "bob": "employee",
        "iris": "approver",
        "igor": "approver",
        "omar": "auditor",
        "ada": "admin",
    }
    for login in logins:
        user = User.objects.get(username=login["username"])
        assert user.check_password(login["password"])
        assert tokens.authenticate(login["token"]) == user
        assert user.department
    assert len({login["password"] for login in logins}) == 6
    assert str(User.objects.get(username="alice").manager) == "Iris Approver"


def test_only_its_owner_reads_the_file(environment: Environment) -> None:
    demo.seed(environment)
    assert stat.S_IMODE(demo.logins_file(environment).stat().st_mode) == 0o600


def test_a_second_start_changes_nothing(environment: Environment) -> None:
    demo.seed(environment)
    before, entries, tokens_made = _file(environment), Entry.objects.count(), ApiToken.objects.count()

    demo.seed(environment)

    assert _file(environment) == before
    assert (Entry.objects.count(), ApiToken.objects.count()) == (entries, tokens_made)


def test_a_token_that_stopped_working_is_made_anew(environment: Environment) -> None:
    demo.seed(environment)
    before = {login["username"]: login for login in _file(environment)}
    ApiToken.objects.filter(user__username="bob").update(expires_at=timezone.now() - timedelta(days=1))

    demo.seed(environment)

    after = {login["username"]: login for login in _file(environment)}
    assert after["bob"]["token"] != before["bob"]["token"]
    assert after["bob"]["password"] == before["bob"]["password"]
    assert after["alice"] == before["alice"]
    assert tokens.authenticate(after["bob"]["token"]) == User.objects.get(username="bob")


@pytest.mark.parametrize("broken", ["", "{", "[1]", '{"a": 1}', '[{"username": "alice"}]'])
def test_a_broken_file_is_written_anew(environment: Environment, broken: str) -> None:
    (environment.data_dir / "demo.json").write_text(broken)

    demo.seed(environment)

    assert len(_file(environment)) == 6
    assert stat.S_IMODE(demo.logins_file(environment).stat().st_mode) == 0o600


def test_a_role_given_by_an_admin_stays(environment: Environment) -> None:
    demo.seed(environment)
    User.objects.filter(username="bob").update(role=Role.APPROVER)

    demo.seed(environment)

    assert {login["username"]: login["role"] for login in _file(environment)}["bob"] == "approver"


def test_never_in_production(environment: Environment, settings: Settings) -> None:
    production = replace(environment, production=True)
    with pytest.raises(RefusedError):
        demo.seed(production)
    settings.ENV = production
    with pytest.raises(CommandError):
        call_command("seed_demo")
    assert not demo.logins_file(environment).exists()
    assert not User.objects.exists()
