"""The environment of a process that a test starts beside itself."""

import os
from urllib.parse import urlsplit, urlunsplit

from django.db import connection


def on_this_database(**more: str) -> dict[str, str]:
    """Ours, on the database of the running test, whose name the environment does not know."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    url = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
    return {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings", **more}
