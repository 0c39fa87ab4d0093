"""What `manage.py check` looks at beyond Django's own: the templates, and what production must not be."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from portal.env import Environment

_SHORTEST_KEY = 32


@register("templates")
def templates_render(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A broken Kubernetes template is found here, with file and line, and not by somebody's sandbox."""
    from sandboxes.cluster.render import check_templates  # every process loads this module, few run the check

    return [Error(message, id="petridish.E001") for message in check_templates(settings.TEMPLATES_ROOT)]


@register(Tags.security, deploy=True)
def production_is_safe(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    environment: Environment = settings.ENV
    if not environment.production:
        return [checks.Warning("This is a demo: set PETRIDISH_MODE=production.", id="petridish.W001")]
    return [*_addresses(environment), *_keys(environment)]


def _addresses(environment: Environment) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not environment.public_url.startswith("https://"):
        found.append(Error("PUBLIC_URL must be the portal's https:// address.", id="petridish.E002"))
    if "*" in environment.allowed_hosts:
        found.append(Error("ALLOWED_HOSTS must name hosts, not every host.", id="petridish.E003"))
    if environment.simulated:
        found.append(
            Error("KUBE_CONTEXT is not set: a simulated cluster seals nothing.", id="petridish.E004")
        )
    return found


def _keys(environment: Environment) -> list[CheckMessage]:
    keys = {
        "SECRET_KEY": environment.secrets.django,
        "LEDGER_KEY": environment.secrets.ledger,
        "SANDBOX_KEY": environment.secrets.sandbox,
    }
    found: list[CheckMessage] = [
        Error(f"{name} is shorter than {_SHORTEST_KEY} characters.", id="petridish.E005")
        for name, key in keys.items()
        if len(key) < _SHORTEST_KEY
    ]
    if len(set(keys.values())) < len(keys):
        found.append(Error("SECRET_KEY, LEDGER_KEY and SANDBOX_KEY must differ.", id="petridish.E006"))
    return found
