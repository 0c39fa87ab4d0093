"""`python -m sandboxes.screening.detectors.telling`: what rules are there, and what is wrong with them, as JSON.

A process of its own: whoever asks has something else to do, and must not be stopped by what an admin wrote.
"""

import sys

import msgspec

from sandboxes.screening import environment
from sandboxes.screening.detectors.patterns import Problem, read


class State(msgspec.Struct, frozen=True):
    """Of `patterns.Compiled`, all but the rules themselves."""

    digest: str
    ours: int
    added: int
    problems: tuple[Problem, ...] = ()


if __name__ == "__main__":
    found = read(environment.rules_folder())
    state = State(found.digest, found.ours, found.added, found.problems)
    sys.stdout.write(msgspec.json.encode(state).decode())
