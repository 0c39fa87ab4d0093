"""Feeds, as the environment names them."""

from datetime import timedelta

import pytest

from portal import env_screening
from sandboxes.errors import InvalidInputError


def test_nothing_set() -> None:
    feeds = env_screening.read({})
    assert (feeds.sources, feeds.every, feeds.longest) == ((), timedelta(hours=1), timedelta(days=1))


def test_what_is_set() -> None:
    environ = {
        "SCREENING_FEEDS": "https://me:hush@feeds.example.com/all.zip\n/srv/osv  /srv/osv",
        "SCREENING_FEED_EVERY": "0.5",
        "SCREENING_FEED_LONGEST": "P2D",
    }
    feeds = env_screening.read(environ)
    assert feeds.sources == ("https://me:hush@feeds.example.com/all.zip", "/srv/osv")
    assert (feeds.every, feeds.longest) == (timedelta(minutes=30), timedelta(days=2))
    assert "hush" not in repr(feeds)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "P1M", "PT0S", "1e99"])
@pytest.mark.parametrize("name", ["SCREENING_FEED_EVERY", "SCREENING_FEED_LONGEST"])
def test_what_is_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        env_screening.read({name: text})
