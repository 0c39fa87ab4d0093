import pytest

from sandboxes.index.client import client_of


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('pip/26.3 {"ci":null}', "pip 26.3"),
        ('uv/0.13.9 {"installer":{"name":"uv"}}', "uv 0.13.9"),
        ("poetry/2.4.0 CPython/3.13", "poetry 2.4.0"),
        ("Mozilla/5.0 (X11)", "Mozilla 5.0"),
        ("curl", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_names(header: str | None, name: str) -> None:
    assert client_of(header).name == name


def test_long_headers_are_shortened() -> None:
    assert len(client_of("pip/1 " + "x" * 5000).user_agent) == 1000


def test_undecodable_bytes_are_replaced() -> None:
    """They arrive as lone surrogates, which the database would refuse."""
    assert client_of("pip/1 p\udcff").user_agent == "pip/1 p?"
