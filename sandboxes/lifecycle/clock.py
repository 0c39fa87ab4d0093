"""The database's clock: the one that every process agrees on, whatever its own machine says.

Leases, due times and phases are compared with it, never with `timezone.now()`: a worker
whose clock is ten minutes off would otherwise end a sandbox ten minutes early.
"""

from datetime import datetime

from django.db import connection
from django.db.models.functions import Now

__all__ = ["Now", "now"]  # `Now()` stands for it inside a query


def now() -> datetime:
    """The moment of this call, not of the transaction's beginning; aware, UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
