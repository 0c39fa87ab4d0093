"""Commits that do not wait for the disk, for what may be forgotten if the database's machine dies that moment.

A statement says so by having `HASTY` among what it returns, with `alone()` as its parameter
`alone`. Inside a transaction it changes nothing: all the rest of it would be hasty too.
"""

from typing import Final

from django.db import connection

HASTY: Final = "CASE WHEN %(alone)s THEN set_config('synchronous_commit', 'off', true) END"


def alone() -> bool:
    """Whether the next statement is a transaction of its own."""
    return not connection.in_atomic_block
