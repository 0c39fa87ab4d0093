"""On CI a client that cannot be had is a failure: what it would have judged must not go unjudged unseen."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.index import clients, npm_clients

PYTHON = clients.environment
NPM = npm_clients.Client


@pytest.mark.parametrize(
    ("client", "name", "setting", "value", "required"),
    [
        (PYTHON, "uv", "", "", False),
        (PYTHON, "uv", "CI", "true", True),
        (PYTHON, "uv", "PETRIDISH_REQUIRE_CLIENTS", "python", True),
        (PYTHON, "uv", "PETRIDISH_REQUIRE_CLIENTS", "all", True),
        (NPM, "pnpm", "", "", False),
        (NPM, "pnpm", "CI", "true", False),
        (NPM, "pnpm", "PETRIDISH_REQUIRE_CLIENTS", "python", False),
        (NPM, "pnpm", "PETRIDISH_REQUIRE_CLIENTS", "all", True),
    ],
)
def test_a_client_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    client: Callable[[str], object],
    name: str,
    setting: str,
    value: str,
    required: bool,
) -> None:
    for variable in ("CI", "PETRIDISH_REQUIRE_CLIENTS"):
        monkeypatch.delenv(variable, raising=False)
    if setting:
        monkeypatch.setenv(setting, value)
    for module, making in ((clients, clients._environment), (npm_clients, npm_clients._made)):
        monkeypatch.setattr(module, "DATA", tmp_path)
        monkeypatch.setattr(module, making.__name__, making.__wrapped__)  # which remembers nothing
    monkeypatch.setattr(clients, "UV", None)
    monkeypatch.setattr(npm_clients, "NPM", None)
    outcome = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(outcome, match=f"{name} cannot be installed here: there is no"):
        client(name)
