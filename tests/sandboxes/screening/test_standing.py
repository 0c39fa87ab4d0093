"""What is thought of bytes under one name says nothing of another, but that a person said no."""

import pytest

from sandboxes.screening.standing import Name, Standing
from sandboxes.screening.words import Screening

GOOD: Name = ("pypi", "good", "good-1.0-py3-none-any.whl")
LIKE: Name = ("pypi", "g00d", "g00d-1.0-py3-none-any.whl")
OTHER: Name = ("pypi", "good", "good-1.0-cp313-cp313-linux_x86_64.whl")
NPM: Name = ("npm", "good", "good-1.0-py3-none-any.whl")
NAMELESS: Name = ("", "", "")
PASSED, HELD, BLOCKED, UNKNOWN = Screening.PASSED, Screening.HELD, Screening.BLOCKED, Screening.UNKNOWN


@pytest.mark.parametrize(
    ("states", "screened", "otherwise"),
    [
        ({GOOD: PASSED}, PASSED, PASSED),
        ({GOOD: HELD}, HELD, HELD),
        ({LIKE: PASSED}, UNKNOWN, UNKNOWN),
        ({OTHER: PASSED}, UNKNOWN, UNKNOWN),
        ({NPM: PASSED}, UNKNOWN, UNKNOWN),
        ({LIKE: HELD}, UNKNOWN, HELD),  # where nobody would look, what somebody found elsewhere has to do
        ({LIKE: HELD, GOOD: PASSED}, PASSED, PASSED),
        ({LIKE: PASSED, GOOD: HELD}, HELD, HELD),
        ({LIKE: BLOCKED}, BLOCKED, BLOCKED),
        ({LIKE: BLOCKED, GOOD: PASSED}, BLOCKED, BLOCKED),
        ({NAMELESS: HELD}, HELD, HELD),
        ({NAMELESS: HELD, GOOD: PASSED}, HELD, HELD),
        ({NAMELESS: PASSED}, PASSED, PASSED),
        ({GOOD: Screening.RUNNING}, Screening.RUNNING, Screening.RUNNING),
    ],
)
def test_a_verdict_counts_for_its_name(
    states: dict[Name, Screening], screened: Screening, otherwise: Screening
) -> None:
    standing = Standing(states)
    assert standing.of(GOOD, screened=True) is screened
    assert standing.of(GOOD, screened=False) is otherwise
