#!/usr/bin/env python
"""Django's command line, with Petridish's settings."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        sys.exit(
            f"Petridish: the database does not answer ({error}); is it running? `make run` starts the embedded one."
        )
