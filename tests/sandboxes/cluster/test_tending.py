"""What a workspace's log says of how busy it is."""

from datetime import UTC, datetime

import pytest

from sandboxes.cluster.tending import Activity, activity

AT = datetime.fromtimestamp(1_000_060, UTC)


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        (
            "petridish-activity 1000000 3 5000000\npetridish-activity 1000060 4 11000000\n",
            Activity(AT, 4, 100.0),
        ),
        (
            "hello\npetridish-activity 1000000 3 0\nworld\npetridish-activity 1000060 4 0\nbye\n",
            Activity(AT, 4, 0.0),
        ),
        (
            "petridish-activity 1 1 1\npetridish-activity 1000000 3 0\npetridish-activity 1000060 4 60000\n",
            Activity(AT, 4, 1.0),
        ),
        ("", None),
        ("petridish-activity 1000060 4 0\n", None),  # one report says nothing of how busy
        ("petridish-activity 1000000 3 9\npetridish-activity 1000060 4 0\n", None),  # counted anew since
        ("petridish-activity 1000060 3 0\npetridish-activity 1000060 4 0\n", None),  # no time between
        ("petridish-activity 1000060 3 0\npetridish-activity 1000000 4 9\n", None),  # a clock set back
        ("petridish-activity 1 1 0\npetridish-activity 1e9 2 0\n", None),
        ("petridish-activity 1 1 0\npetridish-activity -5 2 0\n", None),
        ("petridish-activity 1 1 0\npetridish-activity 999999999999999999 2 0\n", None),
        ("petridish-activity 1 1 0\npetridish-activity 99999999999999999999999 2 0\n", None),
        ("petridish-activity 1 1 0\nx petridish-activity 61 2 0\n", None),
    ],
)
def test_activity(log: str, wanted: Activity | None) -> None:
    assert activity(log) == wanted
