"""`manage.py check` and the migrations: what must not reach production is found before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.core.management import call_command
from pytest_django import Settings

from portal import checks
from portal.env import Environment, Secrets

KEYS = Secrets(django="d" * 48, ledger="l" * 48, sandbox="s" * 48, installation="i")


@pytest.fixture
def production() -> Environment:
    return replace(
        django_settings.ENV,
        production=True,
        public_url="https://petridish.example.com",
        allowed_hosts=("petridish.example.com",),
        kube_context="company",
        secrets=KEYS,
    )


def _found(settings: Settings, environment: Environment) -> list[CheckMessage]:
    settings.ENV = environment
    return checks.production_is_safe(None)


def test_a_sound_production_has_nothing_to_say(settings: Settings, production: Environment) -> None:
    assert _found(settings, production) == []


def test_a_demo_is_no_production(settings: Settings) -> None:
    assert [message.id for message in _found(settings, django_settings.ENV)] == ["petridish.W001"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"public_url": "http://petridish.example.com"}, "petridish.E002"),
        ({"allowed_hosts": ("*",)}, "petridish.E003"),
        ({"kube_context": ""}, "petridish.E004"),
        ({"secrets": replace(KEYS, ledger="short")}, "petridish.E005"),
        ({"secrets": replace(KEYS, ledger=KEYS.django)}, "petridish.E006"),
    ],
)
def test_what_production_must_not_be(
    settings: Settings, production: Environment, change: dict[str, Any], found: str
) -> None:
    environment = replace(production, **change)
    assert [message.id for message in _found(settings, environment)] == [found]


def test_our_templates_are_sound() -> None:
    assert checks.templates_render(None) == []


def test_a_broken_template_is_named_with_file_and_line(settings: Settings, tmp_path: Path) -> None:
    for folder in ("sandbox", "profiles"):
        (tmp_path / folder).mkdir()
    (tmp_path / "sandbox" / "00-namespace.yaml").write_text("kind: Namespace\nmetadata: {name: [\n")
    settings.TEMPLATES_ROOT = tmp_path

    messages = [message.msg for message in checks.templates_render(None)]
    assert any("00-namespace.yaml:" in message for message in messages), messages


@pytest.mark.django_db
def test_every_model_change_has_its_migration() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
