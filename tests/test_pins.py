"""`.ci/pins.py`: what it writes into pyproject.toml, and that what stands there is whole."""

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text()


@pytest.fixture(scope="module")
def pins() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pins", ROOT / ".ci" / "pins.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_list_changes(pins: ModuleType) -> None:
    emptied = pins.with_pins(PROJECT, [])
    again = pins.with_pins(emptied, ["b==2 ; python_full_version < '3.13'", "a==1"])

    assert tomllib.loads(again)["tool"]["uv"]["constraint-dependencies"] == [
        "b==2 ; python_full_version < '3.13'",
        "a==1",
    ]
    assert pins.with_pins(again, []) == emptied
    assert [line for line in PROJECT.splitlines() if "#" in line] == [
        line for line in again.splitlines() if "#" in line
    ]


def test_one_pin_for_each_version_in_the_lock(pins: ModuleType) -> None:
    registry = {"registry": "somewhere"}
    lock = {
        "package": [
            {"name": "petridish", "version": "0.1.0", "source": {"virtual": "."}},
            {
                "name": "b",
                "version": "2",
                "source": registry,
                "resolution-markers": ["python_version >= '3.13'"],
            },
            {
                "name": "b",
                "version": "1",
                "source": registry,
                "resolution-markers": ["python_version < '3.13'"],
            },
            {"name": "a", "version": "1", "source": registry},
        ]
    }
    assert pins.pins_of(lock) == [
        "a==1",
        "b==1 ; (python_version < '3.13')",
        "b==2 ; (python_version >= '3.13')",
    ]


def test_everything_we_name_is_pinned_and_no_registry_is_named() -> None:
    project = tomllib.loads(PROJECT)
    named = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    pinned = {Requirement(pin).name for pin in project["tool"]["uv"]["constraint-dependencies"]}

    assert {Requirement(name).name for name in named} <= pinned
    assert "index" not in project["tool"]["uv"]
    assert "://" not in PROJECT


def _comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if "#" in line]
