"""Which clients install packages, and which project another one may be part of."""

import pytest

from sandboxes.usage.installers import is_installer, named_project


@pytest.mark.parametrize(
    "client",
    [
        "pip 26.3",
        "uv 0.13.9",
        "poetry 2.1",
        "pdm 2.22",
        "pipenv 2025.0",
        "npm 11.4.2",
        "pnpm 10.0",
        "yarn 4.9",
    ],
)
def test_installers(client: str) -> None:
    assert is_installer(client)
    assert named_project(client) == ""


@pytest.mark.parametrize(
    "client",
    ["", "python-requests 2.32", "pipper 1.0", "pip", "PIP 26.3", "curl 8.5", "uvx 1.0", "not pip 26.3"],
)
def test_what_is_no_installer(client: str) -> None:
    assert not is_installer(client)


@pytest.mark.parametrize(
    ("client", "project"),
    [
        ("nltk 3.9", "nltk"),
        ("Torch_Hub 2.0", "torch-hub"),
        ("python-requests 2.32", ""),
        ("Python-urllib 3.13", ""),
        ("curl 8.5", ""),
        ("", ""),
    ],
)
def test_what_a_client_names(client: str, project: str) -> None:
    assert named_project(client) == project
