"""The engine's settings, as the environment names them."""

import pytest

from portal import env_engine
from sandboxes.errors import InvalidInputError

TOKEN = "t" * 32


def test_the_token_of_who_ships_policy_logs() -> None:
    assert env_engine.read({}).policy_log_token == ""
    engine = env_engine.read({"POLICY_LOG_TOKEN": TOKEN})
    assert engine.policy_log_token == TOKEN
    assert TOKEN not in repr(engine)


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="POLICY_LOG_TOKEN"):
        env_engine.read({"POLICY_LOG_TOKEN": "t" * 31})


def test_what_follows_from_a_honeytoken() -> None:
    assert env_engine.read({}).honeytoken_action == "alarm"
    with pytest.raises(InvalidInputError, match="HONEYTOKEN_ACTION"):
        env_engine.read({"HONEYTOKEN_ACTION": "end"})
