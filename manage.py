#!/usr/bin/env python
"""Django's command line, with Petridish's settings. What is wrong outside is told in one line."""

import os
import sys
from typing import Any, Final

from django.core.management import execute_from_command_line
from django.db import OperationalError

from sandboxes.errors import PetridishError

CONNECT_SECONDS: Final = 2


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    try:
        _connect_once()
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        said = str(error).partition("\n")[0]
        sys.exit(
            f"Petridish: the database does not answer ({said}); "
            "`make run` starts the embedded one, DATABASE_URL names another."
        )
    except PetridishError as error:
        sys.exit(f"Petridish: {error}")


def _connect_once() -> None:
    """A command needs no pool, which tries for ten seconds and logs each attempt: one that fails is an answer."""
    from django.conf import settings  # here, since it reads the environment, which may be wrong

    options: Any = settings.DATABASES["default"]["OPTIONS"]
    options.pop("pool", None)
    options.setdefault("connect_timeout", CONNECT_SECONDS)


if __name__ == "__main__":
    main()
