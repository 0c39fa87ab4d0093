"""What 0007 makes of verdicts, and what is left of them when it is taken back."""

from importlib import import_module

import pytest
from django.db import connection

BY_NAME = import_module("sandboxes.screening.migrations.0007_verdicts_by_name")
BEFORE = """
CREATE SCHEMA before_names;
SET LOCAL search_path TO before_names;
CREATE TABLE screening_verdict (
    sha256 varchar(64) PRIMARY KEY, state text, decision text DEFAULT '', ecosystem text DEFAULT 'pypi', project text,
    filename text, scanned_by integer DEFAULT 1)
"""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("states", "left"),
    [
        (("passed", "held"), "held"),
        (("held", "passed"), "held"),
        (("passed", "passed", "blocked"), "blocked"),
        (("blocked", "held"), "blocked"),
        (("passed", "passed"), "passed"),
    ],
)
def test_going_back_keeps_what_was_thought_worst_of_bytes(states: tuple[str, ...], left: str) -> None:
    first, *others = states
    with connection.cursor() as cursor:
        cursor.execute(BEFORE)
        insert = (
            "INSERT INTO screening_verdict (sha256, state, project, filename) VALUES ('aa', %s, %s, 'x.whl')"
        )
        cursor.execute(insert, [first, "demo"])
        cursor.execute(BY_NAME.NAMED)
        for number, state in enumerate(others):
            cursor.execute(insert, [state, f"other-{number}"])
        cursor.execute("SELECT id, state, reopened, rules FROM screening_verdict ORDER BY id")
        rows = cursor.fetchall()
        cursor.execute(BY_NAME.NAMELESS)
        cursor.execute("SELECT sha256, state FROM screening_verdict")
        assert cursor.fetchall() == [("aa", left)]
    assert rows[0] == ("aa", first, False, "")
    assert [row[0][:3] for row in rows[1:]] == ["aa-"] * len(others)


@pytest.mark.django_db
def test_a_pass_without_a_name_counts_no_more() -> None:
    with connection.cursor() as cursor:
        cursor.execute(BEFORE)
        for sha256, state, decision in (
            ("aa", "passed", ""),
            ("bb", "held", ""),
            ("cc", "passed", "released"),
        ):
            cursor.execute(
                "INSERT INTO screening_verdict (sha256, state, decision, project, filename)"
                " VALUES (%s, %s, %s, '', '')",
                [sha256, state, decision],
            )
        cursor.execute(BY_NAME.NAMED)
        cursor.execute("SELECT id, scanned_by FROM screening_verdict ORDER BY id")
        assert cursor.fetchall() == [("bb", 0), ("cc", 0)]
